// Package content keeps blobs by digest: manifests, image configurations and
// layers as they came from a registry.
//
//	<dir>/blobs/sha256/<hex>     verified and durable
//	<dir>/staged/sha256/<hex>    verified, not yet durable
//	<dir>/ingest/sha256-<hex>    being written, or left by a writer that ended
//
// A blob is written aside, hashed on the way, and moved to staged once size and
// digest are right; Flush makes all staged blobs durable with one syncfs and
// moves them to blobs. So a pull costs a handful of fsyncs, however many
// layers it has, and after a power cut nothing in blobs can be wrong. What a
// killed daemon left in ingest is where the next writer goes on.
package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/content/keylock"
	"github.com/strakehq/strake/sdk/mishap"
)

// Store is a directory of blobs. It is safe for concurrent use within one
// process, which must be alone on the directory.
type Store struct {
	dir   string
	locks *keylock.Locks // by digest: one writer per blob

	mu     sync.Mutex // serializes Flush
	staged sync.RWMutex
	early  early
}

const (
	blobsDir  = "blobs"
	stagedDir = "staged"
	ingestDir = "ingest"
)

// Open opens or makes a store. bootID identifies the kernel's present boot:
// after another one, blobs that were verified but not flushed are dropped,
// since their pages may not have reached the disk.
func Open(dir, bootID string) (*Store, error) {
	s := &Store{dir: dir, locks: keylock.New()}
	for _, d := range []string{blobsDir + "/sha256", blobsDir + "/sha512", stagedDir + "/sha256", stagedDir + "/sha512", ingestDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("content store: %w", err)
		}
	}
	if err := s.checkBoot(bootID); err != nil {
		return nil, fmt.Errorf("content store %s: %w", dir, err)
	}
	return s, nil
}

// checkBoot forgets what another boot left unflushed.
func (s *Store) checkBoot(bootID string) error {
	file := filepath.Join(s.dir, "boot")
	last, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	useless := []string{ingestDir + "/" + draftPrefix + "*"}
	if string(last) != bootID || bootID == "" {
		useless = append(useless, stagedDir+"/*/*", ingestDir+"/*")
	}
	for _, pattern := range useless {
		left, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range left {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if string(last) == bootID {
		return nil
	}
	return os.WriteFile(file, []byte(bootID), 0o600)
}

func (s *Store) blobPath(area string, d digest.Digest) string {
	return filepath.Join(s.dir, area, d.Algorithm().String(), d.Encoded())
}

func (s *Store) ingestPath(d digest.Digest) string {
	return filepath.Join(s.dir, ingestDir, d.Algorithm().String()+"-"+d.Encoded())
}

// Check refuses digests that cannot be stored. It keeps strangers' strings out
// of paths.
func Check(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w: %w", d, err, errdefs.ErrInvalidArgument)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fmt.Errorf("digest %q: algorithm is neither sha256 nor sha512: %w", d, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Blob is an open blob. Close it.
type Blob struct {
	*os.File
	size int64
}

// Size of the blob in bytes.
func (b *Blob) Size() int64 { return b.size }

// Open opens a verified blob; ErrNotFound when there is none.
func (s *Store) Open(d digest.Digest) (*Blob, error) {
	if err := Check(d); err != nil {
		return nil, err
	}
	s.staged.RLock() // Flush must not move it between the two looks
	defer s.staged.RUnlock()
	for _, area := range []string{blobsDir, stagedDir} {
		f, err := os.Open(s.blobPath(area, d))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("blob %s: open: %w", d, err)
		}
		i, err := f.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("blob %s: %w", d, err), f.Close())
		}
		return &Blob{File: f, size: i.Size()}, nil
	}
	return nil, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
}

// Size returns a verified blob's size; ErrNotFound when there is none.
func (s *Store) Size(d digest.Digest) (int64, error) {
	if err := Check(d); err != nil {
		return 0, err
	}
	s.staged.RLock()
	defer s.staged.RUnlock()
	for _, area := range []string{blobsDir, stagedDir} {
		i, err := os.Stat(s.blobPath(area, d))
		if err == nil {
			return i.Size(), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("blob %s: %w", d, err)
		}
	}
	return 0, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
}

// Has says whether a verified blob is there.
func (s *Store) Has(d digest.Digest) bool {
	_, err := s.Size(d)
	return err == nil
}

// ReadAll returns a small blob's bytes, verified once more. More than limit
// bytes is ErrOutOfRange.
func (s *Store) ReadAll(d digest.Digest, limit int64) (_ []byte, err error) {
	b, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if b.Size() > limit {
		return nil, fmt.Errorf("blob %s: %d bytes where at most %d are expected: %w", d, b.Size(), limit, errdefs.ErrOutOfRange)
	}
	data, err := io.ReadAll(b)
	if err != nil {
		return nil, fmt.Errorf("blob %s: read: %w", d, err)
	}
	if d.Algorithm().FromBytes(data) != d {
		return nil, fmt.Errorf("blob %s: its bytes changed on disk, remove the image and pull it again: %w", d, errdefs.ErrDataLoss)
	}
	return data, nil
}

// Flush makes every staged blob durable: one syncfs, the moves, one fsync per
// directory.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	staged, err := filepath.Glob(filepath.Join(s.dir, stagedDir, "*", "*"))
	if err != nil || len(staged) == 0 {
		return err
	}
	if err := errors.Join(s.syncfs(), s.earlyError()); err != nil {
		return fmt.Errorf("content store: %w", err)
	}
	mishap.Hit(mishap.BlobsSynced)
	if err := ctx.Err(); err != nil {
		return err
	}
	s.staged.Lock()
	defer s.staged.Unlock()
	dirs := map[string]bool{}
	for _, f := range staged {
		algorithm := filepath.Base(filepath.Dir(f))
		to := filepath.Join(s.dir, blobsDir, algorithm)
		dirs[to] = true
		if err := os.Rename(f, filepath.Join(to, filepath.Base(f))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("content store: %w", err)
		}
		mishap.Hit(mishap.BlobsMoved)
	}
	for d := range dirs {
		if err := syncDir(d); err != nil {
			return fmt.Errorf("content store: %w", err)
		}
	}
	return nil
}

func (s *Store) syncfs() (err error) {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", s.dir, err)
	}
	return nil
}

func syncDir(path string) (err error) {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Collected says what Collect removed.
type Collected struct {
	Blobs []digest.Digest
	Bytes int64
}

// Collect removes every blob for which keep is false, and what ended writers
// left of such blobs. Blobs that are being written stay.
func (s *Store) Collect(ctx context.Context, keep func(digest.Digest) bool) (Collected, error) {
	var c Collected
	var errs []error
	for _, area := range []string{blobsDir, stagedDir} {
		files, err := filepath.Glob(filepath.Join(s.dir, area, "*", "*"))
		if err != nil {
			return c, err
		}
		for _, f := range files {
			d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(f))), filepath.Base(f))
			if keep(d) {
				continue
			}
			if ctx.Err() != nil {
				return c, errors.Join(append(errs, ctx.Err())...)
			}
			i, err := os.Stat(f)
			if err == nil {
				err = os.Remove(f)
			}
			switch {
			case err == nil:
				mishap.Hit(mishap.BlobRemoved)
				c.Blobs = append(c.Blobs, d)
				c.Bytes += i.Size()
			case !errors.Is(err, fs.ErrNotExist):
				errs = append(errs, fmt.Errorf("blob %s: remove: %w", d, err))
			}
		}
	}
	errs = append(errs, s.sweepPartial(keep))
	return c, errors.Join(errs...)
}

// sweepPartial asks no file's age: what is written is locked, and clocks are set.
func (s *Store) sweepPartial(keep func(digest.Digest) bool) error {
	files, err := os.ReadDir(filepath.Join(s.dir, ingestDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		algorithm, hex, _ := strings.Cut(f.Name(), "-")
		unlock, free := s.locks.TryLock(algorithm + ":" + hex)
		if !free {
			continue
		}
		draft := strings.HasPrefix(f.Name(), draftPrefix)
		if draft || !keep(digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)) {
			errs = append(errs, os.Remove(filepath.Join(s.dir, ingestDir, f.Name())))
		}
		unlock()
	}
	return errors.Join(errs...)
}
