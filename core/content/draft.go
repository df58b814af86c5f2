package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A draft's file and its lock, followed by its name.
const (
	draftPrefix = "draft-"
	draftLock   = "draft:"
)

// Draft is a blob whose digest is known once it is written. It is for one
// goroutine.
type Draft struct {
	store *Store
	file  *os.File
	hash  hash.Hash
	size  int64
	// unlock ends what keeps the file from collections.
	unlock func()
}

// Draft opens a writer. End it with Commit or Abort.
func (s *Store) Draft() (*Draft, error) {
	id := rand.Text()
	unlock, _ := s.locks.TryLock(draftLock + id) // nobody else has the name
	f, err := os.OpenFile(filepath.Join(s.dir, ingestDir, draftPrefix+id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("content store: %w", err)
	}
	return &Draft{store: s, file: f, hash: digest.SHA256.Hash(), unlock: unlock}, nil
}

// Write implements io.Writer.
func (d *Draft) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	d.hash.Write(p[:n]) // never fails
	d.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("content store: write: %w", err)
	}
	return n, nil
}

// Commit makes the blob visible, after hold has seen its digest; Flush makes
// it durable. The Draft has ended either way.
func (d *Draft) Commit(ctx context.Context, mediaType string, hold func(digest.Digest) error) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.NewDigest(digest.SHA256, d.hash), Size: d.size}
	if err := hold(desc.Digest); err != nil {
		return desc, errors.Join(err, d.Abort())
	}
	unlock, err := d.store.locks.Lock(ctx, desc.Digest.String())
	if err != nil {
		return desc, errors.Join(err, d.Abort())
	}
	defer unlock()
	defer d.unlock()
	if d.store.Has(desc.Digest) {
		return desc, d.Abort()
	}
	if err := d.file.Close(); err != nil {
		return desc, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	if err := os.Rename(d.file.Name(), d.store.blobPath(stagedDir, desc.Digest)); err != nil {
		return desc, fmt.Errorf("blob %s: commit: %w", desc.Digest, err)
	}
	return desc, nil
}

// Abort drops what was written.
func (d *Draft) Abort() error {
	defer d.unlock()
	return errors.Join(d.file.Close(), os.Remove(d.file.Name()))
}
