package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

// maxPages and maxList, in bytes, bound a list that never ends.
const (
	maxPages = 1000
	maxList  = 8 << 20
)

// pages reads a paginated list (OCI distribution specification, "Link").
func (t target) pages(ctx context.Context, path string, query url.Values, add func(page []byte) error) error {
	r := client.Request{
		Method: http.MethodGet, Path: path, Query: query,
		Scopes: t.pull(), Credentials: t.creds(), OK: []int{http.StatusOK},
	}
	total := 0
	for range maxPages {
		body, h, err := t.get(ctx, r)
		if err != nil {
			return err
		}
		if total += len(body); total > maxList {
			return fmt.Errorf("%s: list is larger than %d bytes: %w", t.c.Endpoint().Host, maxList, errdefs.ErrOutOfRange)
		}
		if err := add(body); err != nil {
			return fmt.Errorf("%s: list is malformed: %w: %w", t.c.Endpoint().Host, err, errdefs.ErrDataLoss)
		}
		next := nextLink(h)
		if next == "" {
			return nil
		}
		u, err := url.Parse(next)
		if err != nil || u.Host != "" {
			return fmt.Errorf("%s: next page is on another host: %w", t.c.Endpoint().Host, errdefs.ErrPermissionDenied)
		}
		if r.Path, err = t.below(u.Path, path); err != nil {
			return err
		}
		r.Query = u.Query()
	}
	return fmt.Errorf("%s: list has more than %d pages: %w", t.c.Endpoint().Host, maxPages, errdefs.ErrOutOfRange)
}

// below turns the path of a next page, which is absolute or relative to the
// list, into one below the API's base.
func (t target) below(next, list string) (string, error) {
	base := strings.TrimRight(t.c.Endpoint().Base.Path, "/") + "/"
	if p, ok := strings.CutPrefix(next, base); ok {
		return p, nil
	}
	if next == "" || !strings.HasPrefix(next, "/") {
		return list, nil
	}
	return "", fmt.Errorf("%s: next page %.80q is outside of the API: %w", t.c.Endpoint().Host, next, errdefs.ErrDataLoss)
}

// nextLink reads Link: <url>; rel="next".
func nextLink(h http.Header) string {
	for _, l := range h.Values("Link") {
		target, attrs, ok := strings.Cut(strings.TrimSpace(l), ">")
		if ok && strings.HasPrefix(target, "<") && strings.Contains(strings.ReplaceAll(attrs, `"`, ""), "rel=next") {
			return target[1:]
		}
	}
	return ""
}

// ListTags implements registry.Driver.
func (d *Driver) ListTags(ctx context.Context, r registry.Repository) ([]string, error) {
	return try(ctx, d, r, hosts.Resolve, "list tags", func(t target) ([]string, error) {
		var tags []string
		err := t.pages(ctx, t.path("tags", "list"), url.Values{"n": {"1000"}}, func(page []byte) error {
			var doc struct{ Tags []string }
			err := json.Unmarshal(page, &doc)
			tags = append(tags, doc.Tags...)
			return err
		})
		return tags, err
	})
}

// ListReferrers implements registry.Driver.
func (d *Driver) ListReferrers(ctx context.Context, r registry.Repository, dg digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	if err := checkDigest(dg); err != nil {
		return nil, err
	}
	return try(ctx, d, r, hosts.Pull, "list referrers of "+dg.String(), func(t target) ([]ocispec.Descriptor, error) {
		found, err := t.referrers(ctx, dg, artifactType)
		if errdefs.IsNotFound(err) {
			found, err = t.taggedReferrers(ctx, dg)
		}
		var out []ocispec.Descriptor
		for _, f := range found {
			if artifactType == "" || f.ArtifactType == artifactType {
				out = append(out, f)
			}
		}
		return out, err
	})
}

func (t target) referrers(ctx context.Context, dg digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	var q url.Values
	if artifactType != "" {
		q = url.Values{"artifactType": {artifactType}}
	}
	var found []ocispec.Descriptor
	err := t.pages(ctx, t.path("referrers", dg.String()), q, func(page []byte) error {
		var index ocispec.Index
		err := json.Unmarshal(page, &index)
		found = append(found, index.Manifests...)
		return err
	})
	return found, err
}

// taggedReferrers reads the fallback for registries without the referrers
// API: an index under the tag sha256-<hex>. No such tag means none.
func (t target) taggedReferrers(ctx context.Context, dg digest.Digest) ([]ocispec.Descriptor, error) {
	m, err := t.manifest(ctx, fmt.Sprintf("%s-%.64s", dg.Algorithm(), dg.Encoded()))
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(m.Bytes, &index); err != nil {
		return nil, fmt.Errorf("%s: referrers index is malformed: %w: %w", t.c.Endpoint().Host, err, errdefs.ErrDataLoss)
	}
	return index.Manifests, nil
}
