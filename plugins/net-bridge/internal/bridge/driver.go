// Package bridge is Strake's network driver: a Linux bridge per network, a veth
// pair per container, addresses from its own records, published ports in the
// kernel.
//
// State is on disk before anything is made: networks under the state
// directory, endpoints under the run directory (a reboot ends them). A driver
// that was killed reads both, writes all rules in one transaction, takes hold
// of all published ports again and finishes what its predecessor began to
// remove.
package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall/nft"
	"github.com/strakehq/strake/plugins/net-bridge/internal/hostport"
	"github.com/strakehq/strake/plugins/net-bridge/internal/link"
	"github.com/strakehq/strake/plugins/net-bridge/internal/record"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

const (
	// Name is the driver's name in a config file.
	Name = "bridge"
	// handleVersion is the format of endpoint in handles.
	handleVersion = 1
)

// Driver is the bridge driver. All methods may be called concurrently.
type Driver struct {
	log     hclog.Logger
	version string

	// The fields up to mu are set by Configure and then only read.
	config   driver.Config
	settings settings
	owner    string
	boot     string
	links    *link.Links
	rules    *firewall.Keeper
	watcher  *nft.Watcher // nil without nftables
	ports    *hostport.Table
	netDir   record.Dir
	epDir    record.Dir
	curDir   record.Dir
	ready    chan struct{} // closed by Configure
	health   health
	work     work

	configuring sync.Mutex
	// networking serializes changes of networks.
	networking sync.Mutex

	mu        sync.Mutex
	networks  map[network.NetworkID]*netState  // guarded by mu; values do not change
	endpoints map[network.EndpointID]*endpoint // guarded by mu; values do not change
	cursors   map[network.NetworkID]cursor     // guarded by mu
	linked    map[network.EndpointID]bool      // guarded by mu: those whose link was made
	suspect   map[string]bool                  // guarded by mu: links that somebody may have changed, by name
	freed     chan struct{}                    // guarded by mu: closed when an endpoint is gone
}

var _ network.Driver = (*Driver)(nil)

// New makes a driver. It touches nothing before Configure.
func New(log hclog.Logger, version string) *Driver {
	return &Driver{
		log: log, version: version, ready: make(chan struct{}), freed: make(chan struct{}),
		health: newHealth(), work: newWork(),
		networks: map[network.NetworkID]*netState{}, endpoints: map[network.EndpointID]*endpoint{},
		cursors: map[network.NetworkID]cursor{}, linked: map[network.EndpointID]bool{}, suspect: map[string]bool{},
	}
}

// Info returns the driver's identity.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{
		Kind: driver.Network, Name: Name, Version: d.version,
		Capabilities:  []driver.Capability{network.CapPorts},
		OptionsSchema: json.RawMessage(schema),
	}, nil
}

// configured returns an error until Configure has succeeded.
func (d *Driver) configured() error {
	select {
	case <-d.ready:
		return nil
	default:
		return fmt.Errorf("network driver bridge: not configured yet: %w", errdefs.ErrFailedPrecondition)
	}
}

// network returns a network by id.
func (d *Driver) network(id network.NetworkID) (*netState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.networks[id]
	if !ok {
		return nil, fmt.Errorf("network %s: not known to the driver, ensure it first: %w", id, errdefs.ErrNotFound)
	}
	return n, nil
}

// endpoint returns an endpoint that is not leaving, with its network.
func (d *Driver) endpoint(id network.EndpointID) (*endpoint, *netState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.endpoints[id]
	if !ok || e.Leaving {
		return nil, nil, fmt.Errorf("endpoint %s: %w", id, errdefs.ErrNotFound)
	}
	n, ok := d.networks[e.Want.Network]
	if !ok {
		return nil, nil, fmt.Errorf("endpoint %s: network %s: %w", id, e.Want.Network, errdefs.ErrNotFound)
	}
	return e, n, nil
}

// List returns all attachments.
func (d *Driver) List(context.Context) ([]network.Attachment, error) {
	if err := d.configured(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []network.Attachment
	for id, e := range d.endpoints {
		n, ok := d.networks[e.Want.Network]
		if e.Leaving || !ok {
			continue
		}
		a, err := e.attachment(n)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: list: %w", id, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// drainTime bounds the wait for links that are being deleted at the end.
const drainTime = 5 * time.Second

// Shutdown ends the driver's own work when links that are on their way out are
// gone. All others, rules and records stay.
func (d *Driver) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := d.drained(ctx); err != nil {
		d.log.Warn("links are left to the next start", "err", err)
	}
	d.work.stop()
	select {
	case <-d.ready:
	default:
		return nil
	}
	var errs []error
	for _, id := range d.ids() {
		errs = append(errs, d.ports.Release(id))
	}
	return errors.Join(append(errs, d.closeKernel())...)
}

func (d *Driver) ids() []network.EndpointID {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []network.EndpointID
	for id := range d.endpoints {
		out = append(out, id)
	}
	return out
}
