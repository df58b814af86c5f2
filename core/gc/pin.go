package gc

import "github.com/strakehq/strake/sdk/storage"

// Pin keeps snapshots while an operation of this process makes them, until the
// records from which a Source reads name them. It is a lease that nobody has to
// find again, and so is not on disk. Like a lease's growth it waits for a
// collection under way.
func (c *Collector) Pin(keys ...storage.SnapshotKey) (unpin func()) {
	p := &pin{keys}
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	if c.pins == nil {
		c.pins = map[*pin]struct{}{}
	}
	c.pins[p] = struct{}{}
	return func() {
		c.leases.mu.Lock()
		defer c.leases.mu.Unlock()
		delete(c.pins, p)
	}
}

type pin struct{ keys []storage.SnapshotKey }
