package conformance

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func registryListCases() []registryCase {
	return []registryCase{
		{"all tags are listed", func(l *registryLab) {
			m := l.pushImage(l.repo, "a")
			for _, tag := range []string{"b", "c"} {
				l.NoError(l.d.PutManifest(l.ctx, l.repo, tag, m), "tag")
			}
			l.crash()
			tags, err := l.d.ListTags(l.ctx, l.repo)
			l.NoError(err, "list tags")
			slices.Sort(tags)
			if !slices.Equal(tags, []string{"a", "b", "c"}) {
				l.Errorf("tags are %q", tags)
			}
			_, err = l.d.ListTags(l.ctx, l.at(l.repo.Host))
			l.ErrorIs(err, errdefs.ErrNotFound, "list tags of nothing")
		}},
		{"a list in pages is read to its end, and no page on another host", func(l *registryLab) {
			s := newRegistryServer(l.T)
			next := map[string]string{"": "?last=b", "b": "/v2/x/y/tags/list?last=d", "d": ""}
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, "/tags/list") {
					return false
				}
				last := q.URL.Query().Get("last")
				if n := next[last]; n != "" {
					w.Header().Set("Link", "<"+n+`>; rel="next"`)
				}
				pages := map[string][]string{"": {"a", "b"}, "b": {"c", "d"}, "d": {"e"}}
				_ = json.NewEncoder(w).Encode(map[string]any{"name": "x/y", "tags": pages[last]}) // the client's affair
				return true
			})
			r := l.at(s.host)
			r.Name = "x/y"
			tags, err := l.d.ListTags(l.ctx, r)
			l.NoError(err, "list tags")
			if !slices.Equal(tags, []string{"a", "b", "c", "d", "e"}) {
				l.Errorf("tags are %q", tags)
			}
			other := newRegistryServer(l.T)
			next[""] = other.URL + "/v2/x/y/tags/list?last=b"
			if _, err := l.d.ListTags(l.ctx, r); err == nil || len(other.seen()) > 0 {
				l.Errorf("another host was asked; error %v", err)
			}
		}},
		{"referrers are listed by the API, and by type", func(l *registryLab) {
			referrers(l, newRegistryServer(l.T, ggcr.WithReferrersSupport(true)), func(digest.Digest, ocispec.Index) {})
		}},
		{"referrers are listed by the tag fallback", func(l *registryLab) {
			s := newRegistryServer(l.T)
			r := l.at(s.host)
			r.Name = "strake-kit/referrers"
			referrers(l, s, func(d digest.Digest, x ocispec.Index) {
				l.putManifest(r, "sha256-"+d.Encoded(), x.MediaType, x)
			})
		}},
	}
}

// referrers attaches two artifacts to an image and looks for them. fallback
// publishes their index for registries without the API.
func referrers(l *registryLab, s *registryServer, fallback func(digest.Digest, ocispec.Index)) {
	r := l.at(s.host)
	r.Name = "strake-kit/referrers"
	m := l.pushImage(r, "v1")
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, kind := range []string{"application/x-sbom", "application/x-signature"} {
		empty := l.pushBlob(r, []byte("{}"))
		empty.MediaType = kind // where registries before version 1.1 look for the type
		a := l.putManifest(r, "", ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: kind,
			Config: empty, Layers: []ocispec.Descriptor{empty}, Subject: &m.Descriptor,
		})
		a.Descriptor.ArtifactType = kind
		x.Manifests = append(x.Manifests, a.Descriptor)
	}
	fallback(m.Descriptor.Digest, x)
	all, err := l.d.ListReferrers(l.ctx, r, m.Descriptor.Digest, "")
	l.NoError(err, "list referrers")
	if len(all) != 2 {
		l.Errorf("got %d referrers, want 2", len(all))
	}
	one, err := l.d.ListReferrers(l.ctx, r, m.Descriptor.Digest, "application/x-sbom")
	l.NoError(err, "list referrers by type")
	if len(one) != 1 || one[0].Digest != x.Manifests[0].Digest {
		l.Errorf("got %v, want %s alone", one, x.Manifests[0].Digest)
	}
	none, err := l.d.ListReferrers(l.ctx, r, digest.FromString("nothing"), "")
	l.NoError(err, "list referrers of nothing")
	if len(none) != 0 {
		l.Errorf("nothing has referrers: %v", none)
	}
}
