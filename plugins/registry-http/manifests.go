package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

// acceptManifests lists what we can read, and schema 1 so that a registry with
// nothing else says so rather than "not found".
func acceptManifests() http.Header {
	return http.Header{"Accept": {strings.Join([]string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.v1+prettyjws",
		"*/*",
	}, ", ")}}
}

// Resolve implements registry.Driver with a HEAD request, which Docker Hub does
// not count as a pull.
func (d *Driver) Resolve(ctx context.Context, r registry.Repository, ref string) (ocispec.Descriptor, error) {
	if err := checkReference(ref); err != nil {
		return ocispec.Descriptor{}, err
	}
	return try(ctx, d, r, hosts.Resolve, "resolve "+ref, func(t target) (ocispec.Descriptor, error) {
		resp, err := t.c.Do(ctx, client.Request{
			Method: http.MethodHead, Path: t.path("manifests", ref), Header: acceptManifests(),
			Scopes: t.pull(), Credentials: t.creds(), OK: []int{http.StatusOK},
		})
		var e *client.Error
		if errors.As(err, &e) && (e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented) {
			m, err := t.manifest(ctx, ref)
			return m.Descriptor, err
		}
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		desc, ok := describe(resp, ref)
		if err := resp.Body.Close(); err != nil {
			return desc, err
		}
		if ok {
			return desc, nil
		}
		m, err := t.manifest(ctx, ref)
		return m.Descriptor, err
	})
}

// describe reads a HEAD answer; not ok when a header is missing or does not fit.
func describe(resp *http.Response, ref string) (ocispec.Descriptor, bool) {
	d := ocispec.Descriptor{
		MediaType: mediaType(resp.Header.Get("Content-Type"), nil),
		Digest:    digest.Digest(resp.Header.Get("Docker-Content-Digest")),
		Size:      resp.ContentLength,
	}
	if strings.Contains(ref, ":") && d.Digest == "" {
		d.Digest = digest.Digest(ref)
	}
	ok := d.Digest.Validate() == nil && d.Size > 0 && d.MediaType != "" &&
		(!strings.Contains(ref, ":") || string(d.Digest) == ref)
	return d, ok
}

// GetManifest implements registry.Driver.
func (d *Driver) GetManifest(ctx context.Context, r registry.Repository, ref string) (registry.Manifest, error) {
	if err := checkReference(ref); err != nil {
		return registry.Manifest{}, err
	}
	return try(ctx, d, r, hosts.Pull, "get manifest "+ref, func(t target) (registry.Manifest, error) {
		return t.manifest(ctx, ref)
	})
}

func (t target) manifest(ctx context.Context, ref string) (registry.Manifest, error) {
	body, h, err := t.get(ctx, client.Request{
		Method: http.MethodGet, Path: t.path("manifests", ref), Header: acceptManifests(),
		Scopes: t.pull(), Credentials: t.creds(), OK: []int{http.StatusOK},
	})
	if err != nil {
		return registry.Manifest{}, err
	}
	m := registry.Manifest{Bytes: body, Descriptor: ocispec.Descriptor{
		MediaType: mediaType(h.Get("Content-Type"), body), Digest: digest.FromBytes(body), Size: int64(len(body)),
	}}
	if !strings.Contains(ref, ":") {
		return m, nil
	}
	want := digest.Digest(ref)
	if m.Descriptor.Digest = want.Algorithm().FromBytes(body); m.Descriptor.Digest != want {
		return registry.Manifest{}, fmt.Errorf("%s: manifest has digest %s, the registry or a proxy before it changed it: %w",
			t.c.Endpoint().Host, m.Descriptor.Digest, errdefs.ErrDataLoss)
	}
	return m, nil
}

// get reads a bounded body whole, again when it breaks off.
func (t target) get(ctx context.Context, r client.Request) ([]byte, http.Header, error) {
	r.Document = true
	for attempt := 0; ; attempt++ {
		resp, err := t.c.Do(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, registry.MaxManifestSize+1))
		err = errors.Join(err, resp.Body.Close())
		switch {
		case len(body) > registry.MaxManifestSize:
			return nil, nil, fmt.Errorf("%s: answer is larger than %d bytes: %w", t.c.Endpoint().Host, registry.MaxManifestSize, errdefs.ErrOutOfRange)
		case err == nil:
			return body, resp.Header, nil
		case attempt >= bodyAttempts || !client.Passing(err):
			return nil, nil, err
		}
		if err := t.c.Pause(ctx, attempt, err); err != nil {
			return nil, nil, err
		}
	}
}

const bodyAttempts = 3

// PutManifest implements registry.Driver.
func (d *Driver) PutManifest(ctx context.Context, r registry.Repository, ref string, m registry.Manifest) error {
	if err := checkReference(ref); err != nil {
		return err
	}
	if len(m.Bytes) > registry.MaxManifestSize {
		return fmt.Errorf("%s/%s: put manifest %s: larger than %d bytes: %w", r.Host, r.Name, ref, registry.MaxManifestSize, errdefs.ErrInvalidArgument)
	}
	_, err := first(ctx, d, r, "put manifest "+ref, func(t target) (struct{}, error) {
		resp, err := t.c.Do(ctx, client.Request{
			Method: http.MethodPut, Path: t.path("manifests", ref),
			Header: http.Header{"Content-Type": {m.Descriptor.MediaType}},
			Rewind: func() io.Reader { return bytes.NewReader(m.Bytes) }, Length: int64(len(m.Bytes)),
			Scopes: t.push(), Credentials: t.creds(),
			OK: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
		})
		return struct{}{}, finish(resp, err)
	})
	return err
}

// mediaType prefers the header and falls back to the document's own word:
// some registries serve everything as application/json or text/plain.
func mediaType(header string, body []byte) string {
	mt, _, err := mime.ParseMediaType(header)
	if err == nil && strings.HasPrefix(mt, "application/vnd.") {
		return mt
	}
	var doc struct {
		MediaType     string            `json:"mediaType"`
		SchemaVersion int               `json:"schemaVersion"`
		Manifests     []json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return mt
	}
	switch {
	case doc.MediaType != "":
		return doc.MediaType
	case doc.SchemaVersion == 1:
		return "application/vnd.docker.distribution.manifest.v1+json"
	case doc.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case doc.SchemaVersion == 2:
		return ocispec.MediaTypeImageManifest
	default:
		return mt
	}
}

// finish closes the answer of a request that has nothing to say.
func finish(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return errors.Join(err, resp.Body.Close())
}

// contentRange reads "bytes 5-9/10" and returns 5 and 10; -1 for "*".
func contentRange(s string) (start, total int64, err error) {
	span, size, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	from, _, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 || !strings.HasPrefix(s, "bytes ") {
		return 0, 0, fmt.Errorf("Content-Range %.60q is malformed: %w", s, errdefs.ErrDataLoss)
	}
	if start, err = number(from); err != nil {
		return 0, 0, fmt.Errorf("Content-Range %.60q is malformed: %w", s, errdefs.ErrDataLoss)
	}
	if size == "*" {
		return start, -1, nil
	}
	if total, err = number(size); err != nil {
		return 0, 0, fmt.Errorf("Content-Range %.60q is malformed: %w", s, errdefs.ErrDataLoss)
	}
	return start, total, nil
}

// number reads digits, without a sign.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err //nolint:gosec // of 63 bits
}
