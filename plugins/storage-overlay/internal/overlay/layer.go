package overlay

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/archive"
	"github.com/strakehq/strake/sdk/storage"
)

// Apply unpacks a layer, with no need of its parent.
func (d *Driver) Apply(ctx context.Context, key storage.SnapshotKey, layer io.Reader) (storage.Applied, error) {
	s, err := d.use()
	if err != nil {
		return storage.Applied{}, err
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return storage.Applied{}, err
	}
	defer unlock()
	e, err := s.get(key)
	if err != nil {
		return storage.Applied{}, err
	}
	if e.Kind != storage.Active {
		return storage.Applied{}, fmt.Errorf("snapshot %s: apply: %w: it is %s", key, errdefs.ErrFailedPrecondition, e.Kind)
	}
	defer s.reaper.pause()()
	res, err := archive.Unpack(ctx, s.fs(e.n), layer, archive.Options{Whiteouts: archive.Overlay})
	if err == nil {
		err = s.noteImplicit(e, res.Implicit)
	}
	if err != nil {
		err = fmt.Errorf("snapshot %s: apply: %w", key, classify(err))
	}
	return storage.Applied{Bytes: res.Bytes, Entries: res.Entries}, err
}

// classify gives errors of package archive their class.
func classify(err error) error {
	var bad *archive.InvalidError
	switch {
	case errors.As(err, &bad):
		return fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: free some space: %w", errdefs.ErrResourceExhausted, err)
	default:
		return err
	}
}

// noteImplicit keeps the names of directories whose attributes only the parent
// knows: for Commit, or for now when it is known.
func (s *store) noteImplicit(e snapshot, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if e.Parent != "" {
		chain, err := s.chain(e.Parent)
		if err != nil {
			return err
		}
		return archive.Inherit(s.fs(e.n), chain, names)
	}
	path := filepath.Join(s.path(e.n), implicitName)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(before) > 0 { // the layer is applied again: they exist by now
		names = append(names, strings.Split(string(before), "\x00")...)
		names = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	return os.WriteFile(path, []byte(strings.Join(names, "\x00")), 0o600)
}

// Diff writes what a snapshot changed as a layer. A view changed nothing.
func (d *Driver) Diff(ctx context.Context, key storage.SnapshotKey, w io.Writer) error {
	s, err := d.use()
	if err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := s.get(key)
	if err != nil {
		return err
	}
	if e.Kind == storage.View {
		return tar.NewWriter(w).Close()
	}
	lower, err := s.chain(e.Parent)
	if err != nil {
		return err
	}
	if err := archive.DiffUpper(ctx, w, s.fs(e.n), lower); err != nil {
		return fmt.Errorf("snapshot %s: diff: %w", key, classify(err))
	}
	return nil
}
