package driver

import (
	"context"
	"errors"
	"io"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/registry"
)

type registryProxy struct{ common }

var _ registry.Driver = registryProxy{}

func (p registryProxy) Resolve(ctx context.Context, r registry.Repository, reference string) (ocispec.Descriptor, error) {
	return call(ctx, p.in, slow("Resolve"), func(ctx context.Context, d registry.Driver) (ocispec.Descriptor, error) {
		return d.Resolve(ctx, r, reference)
	})
}

func (p registryProxy) GetManifest(ctx context.Context, r registry.Repository, reference string) (registry.Manifest, error) {
	return call(ctx, p.in, slow("GetManifest"), func(ctx context.Context, d registry.Driver) (registry.Manifest, error) {
		return d.GetManifest(ctx, r, reference)
	})
}

func (p registryProxy) StatBlob(ctx context.Context, r registry.Repository, dg digest.Digest) (ocispec.Descriptor, error) {
	return call(ctx, p.in, slow("StatBlob"), func(ctx context.Context, d registry.Driver) (ocispec.Descriptor, error) {
		return d.StatBlob(ctx, r, dg)
	})
}

// FetchBlob's deadline counts until the reader is there. The context of the
// call lives until the reader is closed.
func (p registryProxy) FetchBlob(ctx context.Context, r registry.Repository, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	pol := policy{method: "FetchBlob", timeout: noLimit}
	return call(ctx, p.in, pol, func(ctx context.Context, d registry.Driver) (io.ReadCloser, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		overdue := time.AfterFunc(slowCall, func() { cancel(context.DeadlineExceeded) })
		rc, err := d.FetchBlob(ctx, r, desc, offset)
		if !overdue.Stop() && err == nil {
			err = errors.Join(context.Cause(ctx), rc.Close())
		}
		if err != nil {
			cancel(nil)
			return nil, err
		}
		return blob{rc, cancel}, nil
	})
}

type blob struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close ends the transfer.
func (b blob) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// PushBlob consumes content, so it is never repeated.
func (p registryProxy) PushBlob(ctx context.Context, r registry.Repository, desc ocispec.Descriptor, content io.Reader) error {
	pol := policy{method: "PushBlob", timeout: noLimit, once: true}
	return do(ctx, p.in, pol, func(ctx context.Context, d registry.Driver) error { return d.PushBlob(ctx, r, desc, content) })
}

func (p registryProxy) MountBlob(ctx context.Context, r registry.Repository, dg digest.Digest, from string) (bool, error) {
	return call(ctx, p.in, slow("MountBlob"), func(ctx context.Context, d registry.Driver) (bool, error) {
		return d.MountBlob(ctx, r, dg, from)
	})
}

func (p registryProxy) PutManifest(ctx context.Context, r registry.Repository, reference string, m registry.Manifest) error {
	return do(ctx, p.in, slow("PutManifest"), func(ctx context.Context, d registry.Driver) error {
		return d.PutManifest(ctx, r, reference, m)
	})
}

func (p registryProxy) ListTags(ctx context.Context, r registry.Repository) ([]string, error) {
	return call(ctx, p.in, slow("ListTags"), func(ctx context.Context, d registry.Driver) ([]string, error) { return d.ListTags(ctx, r) })
}

func (p registryProxy) ListReferrers(ctx context.Context, r registry.Repository, dg digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	return call(ctx, p.in, slow("ListReferrers"), func(ctx context.Context, d registry.Driver) ([]ocispec.Descriptor, error) {
		return d.ListReferrers(ctx, r, dg, artifactType)
	})
}

func (p registryProxy) Login(ctx context.Context, host string, c registry.Credentials) (registry.LoginResult, error) {
	return call(ctx, p.in, slow("Login"), func(ctx context.Context, d registry.Driver) (registry.LoginResult, error) {
		return d.Login(ctx, host, c)
	})
}
