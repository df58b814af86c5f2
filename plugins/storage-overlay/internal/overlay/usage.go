package overlay

import (
	"context"
	"fmt"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/storage"
)

// Usage measures a snapshot; a committed one only the first time.
func (d *Driver) Usage(ctx context.Context, key storage.SnapshotKey) (storage.Usage, error) {
	s, err := d.use()
	if err != nil {
		return storage.Usage{}, err
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return storage.Usage{}, err
	}
	defer unlock()
	e, err := s.get(key)
	if err != nil {
		return storage.Usage{}, err
	}
	if e.usage != nil {
		return *e.usage, nil
	}
	if e.Kind == storage.View {
		return storage.Usage{}, nil
	}
	bytes, inodes, err := archive.DiskUsage(ctx, s.fs(e.n))
	if err != nil {
		return storage.Usage{}, fmt.Errorf("snapshot %s: usage: %w", key, err)
	}
	usage := storage.Usage{Bytes: bytes, Inodes: inodes}
	if e.Kind == storage.Committed {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.byKey[key].usage = &usage
	}
	return usage, nil
}
