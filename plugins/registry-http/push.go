package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

// first asks the first endpoint that may be pushed to, and no other: half an
// image here and half there is no image.
func first[T any](ctx context.Context, d *Driver, r registry.Repository, what string, f func(target) (T, error)) (T, error) {
	var zero T
	if err := checkName(r); err != nil {
		return zero, err
	}
	ts, err := d.targets(r, hosts.Push)
	if err != nil {
		return zero, err
	}
	v, err := f(ts[0])
	if err != nil {
		return zero, fmt.Errorf("%s/%s: %s: %w", r.Host, r.Name, what, err)
	}
	return v, ctx.Err()
}

// PushBlob implements registry.Driver: POST, one PATCH with all bytes, PUT.
func (d *Driver) PushBlob(ctx context.Context, r registry.Repository, desc ocispec.Descriptor, content io.Reader) error {
	if err := checkDigest(desc.Digest); err != nil {
		return err
	}
	_, err := first(ctx, d, r, "push blob "+desc.Digest.String(), func(t target) (struct{}, error) {
		_, err := t.statBlob(ctx, desc.Digest, t.push())
		if err == nil || !errdefs.IsNotFound(err) {
			return struct{}{}, err
		}
		return struct{}{}, t.upload(ctx, desc, content)
	})
	return err
}

func (t target) upload(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	resp, err := t.c.Do(ctx, t.request(http.MethodPost, t.path("blobs", "uploads")+"/", http.StatusAccepted))
	if err != nil {
		return err
	}
	loc, err := location(resp)
	if err := errors.Join(err, finish(resp, nil)); err != nil {
		return err
	}
	patch := t.request(http.MethodPatch, "", http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	patch.URL, patch.Body, patch.Length = loc, content, desc.Size
	patch.Header = http.Header{"Content-Type": {"application/octet-stream"}}
	resp, err = t.c.Do(ctx, patch)
	if err != nil {
		return err
	}
	loc, err = location(resp)
	if err := errors.Join(err, finish(resp, nil)); err != nil {
		return err
	}
	q := loc.Query()
	q.Set("digest", desc.Digest.String())
	loc.RawQuery = q.Encode()
	put := t.request(http.MethodPut, "", http.StatusCreated, http.StatusNoContent, http.StatusOK)
	put.URL = loc
	return finish(t.c.Do(ctx, put))
}

func (t target) request(method, path string, ok ...int) client.Request {
	return client.Request{Method: method, Path: path, Scopes: t.push(), Credentials: t.creds(), OK: ok}
}

// location is where an upload goes on. It may be relative.
func location(resp *http.Response) (*url.URL, error) {
	u, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("%s: gave no place to upload to: %w", resp.Request.URL.Host, errdefs.ErrUnknown)
	}
	return u, nil
}

// MountBlob implements registry.Driver.
func (d *Driver) MountBlob(ctx context.Context, r registry.Repository, dg digest.Digest, from string) (bool, error) {
	if err := checkDigest(dg); err != nil {
		return false, err
	}
	if _, err := reference.WithName(from); err != nil {
		return false, fmt.Errorf("repository %q: %w: %w", from, err, errdefs.ErrInvalidArgument)
	}
	return first(ctx, d, r, "mount blob "+dg.String()+" from "+from, func(t target) (bool, error) {
		req := t.request(http.MethodPost, t.path("blobs", "uploads")+"/", http.StatusCreated, http.StatusAccepted)
		req.Query = url.Values{"mount": {dg.String()}, "from": {from}}
		req.Scopes = append(req.Scopes, "repository:"+from+":pull")
		resp, err := t.c.Do(ctx, req)
		if err != nil {
			return false, err
		}
		loc, lerr := location(resp)
		if err := finish(resp, nil); err != nil || resp.StatusCode == http.StatusCreated || lerr != nil {
			return resp.StatusCode == http.StatusCreated, err
		}
		// The registry opened an upload in its place: let it go.
		cancel := t.request(http.MethodDelete, "", http.StatusNoContent, http.StatusAccepted, http.StatusOK,
			http.StatusNotFound, http.StatusMethodNotAllowed)
		cancel.URL = loc
		return false, finish(t.c.Do(ctx, cancel))
	})
}

// Login implements registry.Driver.
func (d *Driver) Login(ctx context.Context, host string, c registry.Credentials) (registry.LoginResult, error) {
	r := registry.Repository{Host: host, Name: "login", Credentials: c}
	if err := checkName(r); err != nil {
		return registry.LoginResult{}, err
	}
	ts, err := d.targets(r, hosts.Pull|hosts.Resolve|hosts.Push)
	if err != nil {
		return registry.LoginResult{}, err
	}
	token, err := ts[len(ts)-1].c.Login(ctx, c)
	if err != nil {
		return registry.LoginResult{}, fmt.Errorf("%s: login: %w", host, err)
	}
	return registry.LoginResult{IdentityToken: token}, nil
}
