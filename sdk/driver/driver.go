// Package driver holds what every Strake driver has in common: identity,
// configuration, health and shutdown. The four contracts, in the packages
// storage, runtime, network and registry, embed its Driver interface.
//
// # Life of a driver
//
// The host launches the driver's binary, negotiates the contract's major
// version (go-plugin's protocol version), then calls Info, Configure once and,
// for as long as the process lives, the methods of its contract. WatchHealth
// runs beside them. Drivers are crash-only: the host may kill one at any
// moment, launch it again, Configure it with the same values and hand back the
// handles that it gave out. A driver therefore rebuilds its state from disk,
// from the kernel and from handles, never from memory alone.
//
// # Rules for all contracts
//
//   - Keys and ids are chosen by the caller, and calls are idempotent:
//     repeating a call gives the same answer, removing what is gone succeeds.
//   - Every call carries a deadline in its context.
//   - Errors carry a class of github.com/containerd/errdefs; the class survives
//     the process boundary. Any other error arrives as errdefs.ErrUnknown.
//   - All methods may be called concurrently. Calls about one key are
//     serialized by the host, except after a host restart, when the outcome of
//     a call of the former host may still be in flight.
package driver

import (
	"context"
	"encoding/json"
)

// Kind names one of the four contracts.
type Kind string

// The kinds of driver.
const (
	Storage  Kind = "storage"
	Runtime  Kind = "runtime"
	Network  Kind = "network"
	Registry Kind = "registry"
)

// Kinds lists all kinds in the order in which the daemon reports them.
func Kinds() []Kind { return []Kind{Storage, Runtime, Network, Registry} }

// Capability names an optional feature of a driver. Each contract's package
// lists its own. The SDK publishes those whose interface the driver
// implements; a driver adds others in Info.
type Capability string

// Info is a driver's identity. It does not change while the process lives.
type Info struct {
	// Kind is the contract that the driver serves.
	Kind Kind
	// Name is what a config file calls the driver, for example "overlay".
	Name string
	// Version is the driver's own version, free-form, for people to read.
	Version string
	// Capabilities are the optional features on offer.
	Capabilities []Capability
	// OptionsSchema is a JSON Schema (draft 2020-12) of the driver's options.
	// The host checks options against it before Configure. Empty means that
	// the driver takes no options.
	OptionsSchema json.RawMessage
}

// Config is what a driver is told before its first use.
type Config struct {
	// Options are the options from the config file as a JSON object, already
	// checked against OptionsSchema. Defaults are the driver's business.
	Options json.RawMessage
	// StateDir is a directory of the driver's own whose content survives
	// reboots. It exists, mode 0700.
	StateDir string
	// RunDir is a directory of the driver's own whose content is gone after
	// a reboot. It exists, mode 0700.
	RunDir string
	// Libexec is the directory where helper programs such as strake-shim are
	// found.
	Libexec string
}

// Status says whether a driver can do its work.
type Status string

// The statuses.
const (
	// Ready: all is well.
	Ready Status = "ready"
	// Degraded: works, with a restriction that Reason names.
	Degraded Status = "degraded"
	// Failed: cannot work, Reason says why and what would mend it.
	Failed Status = "failed"
)

// Health is a driver's own word on its condition.
type Health struct {
	Status Status
	// Reason is for people to read: what is wrong and the mend. Empty when
	// Ready.
	Reason string
}

// Driver is the part that all contracts share. Embed Base to get the usual
// answers to WatchHealth and Shutdown.
type Driver interface {
	// Info returns the driver's identity. It must work before Configure and
	// touch nothing.
	Info(ctx context.Context) (Info, error)
	// Configure makes the driver ready for use. Repeating it with equal
	// values changes nothing. An unusable value is ErrInvalidArgument, a
	// machine that lacks what the driver needs ErrFailedPrecondition.
	Configure(ctx context.Context, c Config) error
	// WatchHealth reports the present health at once and every change after
	// it, until ctx ends.
	WatchHealth(ctx context.Context, report func(Health)) error
	// Shutdown is called before an orderly end of the process. Nothing that
	// containers need may be torn down.
	Shutdown(ctx context.Context) error
}

// Handle is a driver's own note about one thing that it made. The host keeps
// it and hands it back after a restart; it never looks inside. No two things have
// the same State, unless it is empty: the host refuses one that it has already.
type Handle struct {
	// Version is the format of State, so that a newer driver can read the
	// handles of an older one.
	Version uint32
	State   []byte
}

// Base gives a driver that is always ready and needs no orderly end. Embed it
// and override what differs.
type Base struct{}

// WatchHealth reports Ready and waits for ctx to end.
func (Base) WatchHealth(ctx context.Context, report func(Health)) error {
	report(Health{Status: Ready})
	<-ctx.Done()
	return nil
}

// Shutdown does nothing.
func (Base) Shutdown(context.Context) error { return nil }
