package content

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/mishap"
)

// Ingest is the one writer of a blob. It is for one goroutine.
type Ingest struct {
	store  *Store
	desc   ocispec.Descriptor
	file   *os.File
	hash   hash.Hash
	offset int64
	unlock func()
}

// Ingest opens the writer of a blob, after any other writer of it has ended.
// When the blob is there already it returns ErrAlreadyExists. Bytes that an
// earlier writer left count: go on at Offset.
func (s *Store) Ingest(ctx context.Context, desc ocispec.Descriptor) (*Ingest, error) {
	if err := Check(desc.Digest); err != nil {
		return nil, err
	}
	if desc.Size < 0 {
		return nil, fmt.Errorf("blob %s: size %d: %w", desc.Digest, desc.Size, errdefs.ErrInvalidArgument)
	}
	unlock, err := s.locks.Lock(ctx, desc.Digest.String())
	if err != nil {
		return nil, fmt.Errorf("blob %s: wait for another download of it: %w", desc.Digest, err)
	}
	if s.Has(desc.Digest) {
		unlock()
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, errdefs.ErrAlreadyExists)
	}
	i := &Ingest{store: s, desc: desc, unlock: unlock}
	if err := i.open(); err != nil {
		unlock()
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	return i, nil
}

// open takes up what is there, hashing it again.
func (i *Ingest) open() (err error) {
	i.file, err = os.OpenFile(i.store.ingestPath(i.desc.Digest), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	i.hash = i.desc.Digest.Algorithm().Hash()
	i.offset, err = io.Copy(i.hash, i.file)
	if err == nil && i.offset > i.desc.Size {
		err = i.Reset()
	}
	if err != nil {
		return errors.Join(err, i.file.Close())
	}
	return nil
}

// Offset is how many bytes there are.
func (i *Ingest) Offset() int64 { return i.offset }

// Prefix reads the bytes that were there when the Ingest was opened. It may be
// read while writing goes on.
func (i *Ingest) Prefix() io.Reader { return io.NewSectionReader(i.file, 0, i.offset) }

// Reset starts again from nothing.
func (i *Ingest) Reset() error {
	i.offset = 0
	i.hash.Reset()
	if err := i.file.Truncate(0); err != nil {
		return err
	}
	_, err := i.file.Seek(0, io.SeekStart)
	return err
}

// Write appends. More bytes than the descriptor says is ErrDataLoss.
func (i *Ingest) Write(p []byte) (int, error) {
	if i.offset+int64(len(p)) > i.desc.Size {
		return 0, fmt.Errorf("blob %s: longer than the %d bytes that its manifest says: %w", i.desc.Digest, i.desc.Size, errdefs.ErrDataLoss)
	}
	n, err := i.file.Write(p)
	i.hash.Write(p[:n]) // never fails
	i.offset += int64(n)
	i.store.Dirtied(n)
	if err != nil {
		return n, fmt.Errorf("blob %s: write: %w", i.desc.Digest, err)
	}
	return n, nil
}

// Commit checks size and digest and makes the blob visible; Flush makes it
// durable. When they are wrong, the bytes are dropped and the error is
// ErrDataLoss. The Ingest has ended either way.
func (i *Ingest) Commit() error {
	defer i.unlock()
	err := i.verify()
	from := i.store.ingestPath(i.desc.Digest)
	if err != nil {
		return errors.Join(err, i.file.Close(), os.Remove(from))
	}
	if err := i.file.Close(); err != nil {
		return fmt.Errorf("blob %s: %w", i.desc.Digest, err)
	}
	mishap.Hit(mishap.BlobWritten)
	if err := os.Rename(from, i.store.blobPath(stagedDir, i.desc.Digest)); err != nil {
		return fmt.Errorf("blob %s: commit: %w", i.desc.Digest, err)
	}
	mishap.Hit(mishap.BlobStaged)
	return nil
}

func (i *Ingest) verify() error {
	if i.offset != i.desc.Size {
		return fmt.Errorf("blob %s: has %d bytes where its manifest says %d: %w", i.desc.Digest, i.offset, i.desc.Size, errdefs.ErrDataLoss)
	}
	if got := digest.NewDigest(i.desc.Digest.Algorithm(), i.hash); got != i.desc.Digest {
		return fmt.Errorf("blob %s: digest of the bytes received is %s: %w", i.desc.Digest, got, errdefs.ErrDataLoss)
	}
	return nil
}

// Close ends an Ingest that is not committed; what was written stays for the
// next one.
func (i *Ingest) Close() error {
	defer i.unlock()
	return i.file.Close()
}

// Abort ends an Ingest and drops what was written.
func (i *Ingest) Abort() error {
	defer i.unlock()
	err := os.Remove(i.store.ingestPath(i.desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, i.file.Close())
}

// Put stores bytes that are in memory and returns their descriptor. One that
// is there already is no error.
func (s *Store) Put(ctx context.Context, mediaType string, data []byte) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	i, err := s.Ingest(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		return desc, nil
	}
	if err != nil {
		return desc, err
	}
	if err := i.Reset(); err != nil {
		return desc, errors.Join(err, i.Abort())
	}
	if _, err := i.Write(data); err != nil {
		return desc, errors.Join(err, i.Abort())
	}
	return desc, i.Commit()
}
