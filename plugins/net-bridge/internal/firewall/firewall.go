// Package firewall says which rules the bridge driver needs, apart from how a
// backend puts them into the kernel.
//
// A backend's rules are a pure function of Rules. Replace makes them so in one
// transaction, whatever was there before; Change is its cheap form for the one
// thing that happens often, ports that come and go.
package firewall

import (
	"context"
	"net/netip"
	"slices"

	"github.com/strakehq/strake/sdk/network"
)

// Network is what the rules need to know of a network.
type Network struct {
	// Bridge is the name of the interface.
	Bridge string
	// Subnet is the IPv4 prefix.
	Subnet netip.Prefix
	// Internal networks exchange nothing with the outside.
	Internal bool
	// Masquerade hides the containers behind the host's address.
	Masquerade bool
	// ICC lets the network's containers talk to each other.
	ICC bool
}

// Forward sends what arrives at a port of the host to a container.
type Forward struct {
	Protocol network.Protocol
	// HostIP zero stands for every IPv4 address of the host.
	HostIP        netip.Addr
	HostPort      uint16
	ContainerIP   netip.Addr
	ContainerPort uint16
}

// Loopback says whether only processes of the host itself may use the port.
func (f Forward) Loopback() bool { return f.HostIP.IsLoopback() }

// Rules are all rules of the driver.
type Rules struct {
	Networks []Network
	Forwards []Forward
}

// Names are the names under which a backend keeps its rules, so that drivers
// with different default bridges can live in one network namespace.
type Names struct {
	// Table is the nftables table.
	Table string
	// Prefix begins the names of iptables chains; at most 15 bytes.
	Prefix string
}

// DefaultBridge is the bridge of the driver that owns the plain names.
const DefaultBridge = "strake0"

// NamesFor derives the names from the name of the default bridge.
func NamesFor(bridge string) Names {
	if bridge == DefaultBridge {
		return Names{Table: "strake", Prefix: "STRAKE"}
	}
	return Names{Table: "strake-" + bridge, Prefix: bridge}
}

// Backend puts rules into the kernel, in the network namespace of the process.
// Its methods are not for concurrent use; a Keeper serializes them.
type Backend interface {
	// Name is the backend's name in the options.
	Name() string
	// Replace makes the kernel's rules those of r, in one transaction.
	Replace(ctx context.Context, r Rules) error
	// Change adds and removes forwards on top of what the last Replace and
	// Change made. On failure nothing is changed, or Replace is needed.
	Change(ctx context.Context, add, remove []Forward) error
	// Intact says whether the rules of r are all in place.
	Intact(ctx context.Context, r Rules) (bool, error)
	// Remove takes all rules away; none is no error.
	Remove(ctx context.Context) error
	// Close frees the backend's connection to the kernel, not the rules.
	Close() error
}

// ChunkSize bounds the elements of one message or command.
const ChunkSize = 256

// Chunks calls f with pieces of at most ChunkSize forwards.
func Chunks(all []Forward, f func([]Forward) error) error {
	for c := range slices.Chunk(all, ChunkSize) {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}
