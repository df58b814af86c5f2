package overlay

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
	res, err := archive.Unpack(ctx, s.fs(e.n), layer, s.unpack)
	if err == nil {
		err = s.note(ctx, e, res.Pending)
	}
	if err != nil {
		err = fmt.Errorf("snapshot %s: apply: %w", key, classify(err))
	}
	return storage.Applied{Bytes: res.Bytes, Entries: res.Entries}, err
}

// classify gives errors of package archive their class.
func classify(err error) error {
	var bad *archive.InvalidError
	var large *archive.LimitError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%w: %w", errdefs.ErrOutOfRange, err)
	case errors.As(err, &bad):
		return fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: free some space: %w", errdefs.ErrResourceExhausted, err)
	default:
		return err
	}
}

// pendingName is the file that tells what Commit is to settle.
const pendingName = "pending"

// note keeps what only the parent can decide: for Commit, or for now when it
// is known.
func (s *store) note(ctx context.Context, e snapshot, p archive.Pending) error {
	if p.Empty() {
		return nil
	}
	if e.Parent != "" {
		chain, err := s.chain(e.Parent)
		if err != nil {
			return err
		}
		return archive.Settle(ctx, s.fs(e.n), chain, p)
	}
	// what a former Apply noted exists by now
	before, err := readPending(s.path(e.n))
	if err != nil {
		return err
	}
	text, err := json.Marshal(before.Add(p))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.path(e.n), pendingName), text, 0o600)
}

func readPending(dir string) (archive.Pending, error) {
	text, err := os.ReadFile(filepath.Join(dir, pendingName))
	if errors.Is(err, fs.ErrNotExist) {
		return archive.Pending{}, nil
	}
	if err != nil {
		return archive.Pending{}, err
	}
	var p archive.Pending
	if err := json.Unmarshal(text, &p); err != nil {
		return archive.Pending{}, fmt.Errorf("%s: %w", pendingName, err)
	}
	return p, nil
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
