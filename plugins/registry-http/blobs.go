package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

// StatBlob implements registry.Driver.
func (d *Driver) StatBlob(ctx context.Context, r registry.Repository, dg digest.Digest) (ocispec.Descriptor, error) {
	if err := checkDigest(dg); err != nil {
		return ocispec.Descriptor{}, err
	}
	return try(ctx, d, r, hosts.Pull, "stat blob "+dg.String(), func(t target) (ocispec.Descriptor, error) {
		return t.statBlob(ctx, dg, t.pull())
	})
}

func (t target) statBlob(ctx context.Context, dg digest.Digest, scopes []string) (ocispec.Descriptor, error) {
	resp, err := t.c.Do(ctx, client.Request{
		Method: http.MethodHead, Path: t.path("blobs", dg.String()), Scopes: scopes, Credentials: t.creds(), OK: []int{http.StatusOK},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: dg, Size: resp.ContentLength}, resp.Body.Close()
}

// FetchBlob implements registry.Driver.
func (d *Driver) FetchBlob(ctx context.Context, r registry.Repository, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := checkDigest(desc.Digest); err != nil {
		return nil, err
	}
	if err := checkName(r); err != nil {
		return nil, err
	}
	if offset < 0 || desc.Size < 0 || offset > desc.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes: %w", desc.Digest, offset, desc.Size, errdefs.ErrOutOfRange)
	}
	ts, err := d.targets(r, hosts.Pull)
	if err != nil {
		return nil, err
	}
	b := &blob{ctx: ctx, repo: r, targets: ts, desc: desc, off: offset, mark: offset}
	if offset == desc.Size { // nothing left to ask for
		return b, nil
	}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("%s/%s: fetch blob %s: %w", r.Host, r.Name, desc.Digest, err)
	}
	return b, nil
}

// blob reads a blob over as many requests and endpoints as it takes.
type blob struct {
	ctx     context.Context //nolint:containedctx // a reader has no other way to be cancelled
	repo    registry.Repository
	targets []target // the present one first
	desc    ocispec.Descriptor
	off     int64
	body    io.ReadCloser
	failed  int   // requests since the last progress worth the while
	mark    int64 // offset at the last failure
	errs    []error
}

const blobAttempts = 4

// open finds an endpoint that gives the bytes from off on.
func (b *blob) open() error {
	for len(b.targets) > 0 {
		body, err := b.targets[0].blobFrom(b.ctx, b.desc, b.off)
		if err == nil {
			b.body = body
			return nil
		}
		if b.ctx.Err() != nil {
			return err
		}
		b.next(err)
	}
	return pick(b.errs)
}

func (b *blob) next(err error) {
	b.errs = append(b.errs, err)
	b.targets = b.targets[1:]
	b.failed = 0
}

// Read gives up only when no endpoint makes progress any more.
func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.off == b.desc.Size {
			return 0, io.EOF
		}
		if b.body == nil {
			return 0, fmt.Errorf("blob %s: read after an error: %w", b.desc.Digest, errdefs.ErrFailedPrecondition)
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.desc.Size-b.off)])
		b.off += int64(n)
		if n > 0 || err == nil {
			return n, nil // an error will come again
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("broke off at byte %d of %d: %w", b.off, b.desc.Size, errdefs.ErrUnavailable)
		}
		if err := b.resume(err); err != nil {
			return 0, fmt.Errorf("%s/%s: fetch blob %s: %w", b.repo.Host, b.repo.Name, b.desc.Digest, err)
		}
	}
}

func (b *blob) resume(err error) error {
	cerr := b.body.Close()
	b.body = nil
	if b.ctx.Err() != nil {
		return errors.Join(b.ctx.Err(), cerr)
	}
	if b.off-b.mark >= client.Worthwhile {
		b.failed = 0
	}
	b.mark = b.off
	if b.failed++; b.failed > blobAttempts {
		b.next(err)
	} else if err := b.targets[0].c.Pause(b.ctx, b.failed-1, err); err != nil {
		return err
	}
	return b.open()
}

// Close implements io.Closer.
func (b *blob) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

// blobFrom asks one endpoint for the bytes from off on. A registry that
// ignores the range sends everything: what we have is read past.
func (t target) blobFrom(ctx context.Context, desc ocispec.Descriptor, off int64) (io.ReadCloser, error) {
	r := client.Request{
		Method: http.MethodGet, Path: t.path("blobs", desc.Digest.String()), Header: http.Header{},
		Scopes: t.pull(), Credentials: t.creds(), OK: []int{http.StatusOK, http.StatusPartialContent},
	}
	if off > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	}
	resp, err := t.c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := checkRange(resp, desc.Size, off); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", t.c.Endpoint().Host, err), resp.Body.Close())
	}
	if resp.StatusCode == http.StatusOK && off > 0 {
		return &skipping{ReadCloser: resp.Body, left: off}, nil
	}
	return resp.Body, nil
}

// skipping drops the first bytes of a body, at the first Read, so that a
// failure on the way is one of Read.
type skipping struct {
	io.ReadCloser
	left int64
}

func (s *skipping) Read(p []byte) (int, error) {
	for s.left > 0 {
		n, err := io.CopyN(io.Discard, s.ReadCloser, s.left)
		s.left -= n
		if err != nil {
			return 0, err
		}
	}
	return s.ReadCloser.Read(p)
}

func checkRange(resp *http.Response, size, off int64) error {
	want := size
	if resp.StatusCode == http.StatusPartialContent {
		start, total, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return err
		}
		if start != off || total >= 0 && total != size {
			return fmt.Errorf("asked for bytes %d-/%d, got %q: %w", off, size, resp.Header.Get("Content-Range"), errdefs.ErrDataLoss)
		}
		want = size - off
	}
	if resp.ContentLength >= 0 && resp.ContentLength != want {
		return fmt.Errorf("blob has %d bytes there, the manifest says %d: %w", resp.ContentLength, want, errdefs.ErrDataLoss)
	}
	return nil
}
