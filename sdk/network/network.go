// Package network is the contract of network drivers: networks, the
// attachment of network namespaces to them, published ports and names.
//
// The verbs follow CNI's (ADD, DEL, CHECK, GC, STATUS) and the results are
// CNI's own type, so that a driver may be a thin layer over CNI plugins. All
// verbs are idempotent.
//
// The core makes and pins network namespaces and hands them over by path.
// The modes host, none and container:<id> need no driver.
package network

import (
	"context"
	"net/netip"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/strakehq/strake/sdk/driver"
)

// NetworkID names a network. Chosen by the caller, [a-zA-Z0-9_.-], 1 to 64 bytes.
type NetworkID string

// EndpointID names one attachment. Chosen by the caller, same form as
// NetworkID, unique over all networks of the driver.
type EndpointID string

// Network is what a network should be.
type Network struct {
	ID NetworkID
	// Name is the name that people use; drivers may show it in comments.
	Name string
	// Subnets may be empty: the driver picks one from its address pools.
	Subnets []Subnet
	// Internal networks have no route outside.
	Internal bool
	// IPv6 asks for an IPv6 subnet beside the IPv4 one.
	IPv6 bool
	// Options are driver options from the user, keyed as Docker's
	// ("com.docker.network.bridge.name", …). Unknown keys are
	// ErrInvalidArgument.
	Options map[string]string
}

// Subnet is one address range of a network.
type Subnet struct {
	Prefix netip.Prefix
	// Gateway is the address of the host's side; zero lets the driver pick.
	Gateway netip.Addr
	// Range restricts the addresses that are given out; zero: all of Prefix.
	Range netip.Prefix
	// Reserved addresses are never given out, keyed by a name for people.
	Reserved map[string]netip.Addr
}

// Protocol is a transport protocol of a published port.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// Port is a published port, wanted or in place.
type Port struct {
	Protocol      Protocol
	ContainerPort uint16
	// HostIP zero means all addresses of the host, IPv4 and IPv6.
	HostIP netip.Addr
	// HostPort is the port on the host. Zero: any free one in the driver's
	// ephemeral range. With HostPortEnd above it, any free one between the
	// two, both included.
	HostPort    uint16
	HostPortEnd uint16
}

// AttachRequest asks for an attachment.
type AttachRequest struct {
	Endpoint EndpointID
	Network  NetworkID
	// Container is the container's full id, for comments and names.
	Container string
	// NetNS is the path of the pinned network namespace.
	NetNS string
	// IfName is the interface's name inside, "eth0" and so on.
	IfName string
	// IPv4 and IPv6 are wanted addresses; zero lets the driver pick.
	IPv4, IPv6 netip.Addr
	// MAC is the wanted hardware address as text; empty lets the driver pick.
	MAC string
	// DefaultRoute asks for the default route through this network.
	DefaultRoute bool
	// Hostname is the container's host name.
	Hostname string
	// Names are all names under which others on the network find the
	// container.
	Names []string
	// Ports to publish.
	Ports []Port
}

// Attachment is an attachment in place.
type Attachment struct {
	Endpoint  EndpointID
	Network   NetworkID
	Container string
	NetNS     string
	IfName    string
	MAC       string
	// Result is the CNI result: interfaces, addresses, routes, DNS.
	Result *types100.Result
	// Ports as published, host ports filled in, one per host address family.
	Ports []Port
	// Handle is handed back with Recover and Detach.
	Handle driver.Handle
}

// Driver is the network contract.
type Driver interface {
	driver.Driver

	// EnsureNetwork makes the network or repairs it: bridge, addresses,
	// rules. It returns it with subnets and gateways filled in. A network
	// that exists with other properties is ErrAlreadyExists, a subnet that
	// overlaps with another network or a route of the host ErrConflict, an
	// exhausted address pool ErrResourceExhausted.
	EnsureNetwork(ctx context.Context, n Network) (Network, error)
	// RemoveNetwork removes it. One with endpoints is ErrFailedPrecondition.
	RemoveNetwork(ctx context.Context, id NetworkID) error
	// Attach joins a namespace to a network and publishes ports, all or
	// nothing. A host port in use is ErrConflict, and the message names it.
	Attach(ctx context.Context, r AttachRequest) (Attachment, error)
	// Detach undoes Attach. The namespace may be gone already. What must
	// not be awaited (the kernel takes tens of milliseconds to delete a
	// link) may end after the answer.
	Detach(ctx context.Context, id EndpointID) error
	// Recover takes back an attachment of a former process of the driver:
	// it rebuilds memory, and repairs links and rules that are missing. A
	// namespace that is gone is ErrNotFound.
	Recover(ctx context.Context, a Attachment) (Attachment, error)
	// Check says whether an attachment is whole, in CNI's sense.
	Check(ctx context.Context, id EndpointID) error
	// List returns all attachments that the driver knows.
	List(ctx context.Context) ([]Attachment, error)
	// SetNames replaces the names of an endpoint.
	SetNames(ctx context.Context, id EndpointID, names []string) error
	// Collect removes networks and endpoints that are not named, with all
	// links, addresses and rules that belong to them.
	Collect(ctx context.Context, networks []NetworkID, endpoints []EndpointID) error
}

// Capabilities of network drivers.
const (
	// CapDNS: containers find each other by name on user-defined networks.
	CapDNS driver.Capability = "network.dns"
	// CapPorts: ports can be published.
	CapPorts driver.Capability = "network.ports"
	// CapIPv6: IPv6 subnets work.
	CapIPv6 driver.Capability = "network.ipv6"
)
