package conformance

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/registry"
)

func manifestCases() []registryCase {
	return []registryCase{
		{"a tag and a digest resolve to the descriptor of the manifest", func(l *registryLab) {
			m := l.pushImage(l.repo, "v1")
			for _, ref := range []string{"v1", m.Descriptor.Digest.String()} {
				got, err := l.d.Resolve(l.ctx, l.repo, ref)
				l.NoError(err, "resolve "+ref)
				l.NoError(sameDescriptor(got, m.Descriptor), "resolve "+ref)
			}
		}},
		{"a manifest arrives byte for byte, by tag and by digest, after a crash too", func(l *registryLab) {
			m := l.pushImage(l.repo, "v1")
			l.crash()
			for _, ref := range []string{"v1", m.Descriptor.Digest.String()} {
				got, err := l.d.GetManifest(l.ctx, l.repo, ref)
				l.NoError(err, "get manifest "+ref)
				l.NoError(sameDescriptor(got.Descriptor, m.Descriptor), "get manifest "+ref)
				if !bytes.Equal(got.Bytes, m.Bytes) {
					l.Errorf("manifest %s: bytes differ", ref)
				}
			}
		}},
		{"an index keeps its media type", func(l *registryLab) {
			m := l.pushImage(l.repo, "v1")
			x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{m.Descriptor}}
			want := l.putManifest(l.repo, "multi", x.MediaType, x)
			got, err := l.d.GetManifest(l.ctx, l.repo, "multi")
			l.NoError(err, "get index")
			l.NoError(sameDescriptor(got.Descriptor, want.Descriptor), "get index")
		}},
		{"putting a manifest again changes nothing", func(l *registryLab) {
			m := l.pushImage(l.repo, "v1")
			for range Repeats {
				l.NoError(l.d.PutManifest(l.ctx, l.repo, "v1", m), "put again")
			}
			got, err := l.d.Resolve(l.ctx, l.repo, "v1")
			l.NoError(err, "resolve")
			l.NoError(sameDescriptor(got, m.Descriptor), "resolve")
		}},
		{"what the registry does not have is not found, and the error names it", func(l *registryLab) {
			l.pushImage(l.repo, "v1")
			nothing := digest.FromString("nothing").String()
			other := l.at(l.repo.Host)
			for _, c := range []struct {
				r   registry.Repository
				ref string
			}{{l.repo, "v2"}, {l.repo, nothing}, {other, "v1"}} {
				_, err := l.d.Resolve(l.ctx, c.r, c.ref)
				l.ErrorIs(err, errdefs.ErrNotFound, "resolve "+c.ref)
				l.names(err, c.r.Host, c.r.Name, c.ref)
				_, err = l.d.GetManifest(l.ctx, c.r, c.ref)
				l.ErrorIs(err, errdefs.ErrNotFound, "get manifest "+c.ref)
				l.names(err, c.r.Host, c.r.Name, c.ref)
			}
		}},
		{"names and references that are none are refused", func(l *registryLab) {
			for _, name := range []string{"", "UPPER", "a/../b", "a?b", "a#b", "a b", "../etc"} {
				_, err := l.d.Resolve(l.ctx, registry.Repository{Host: l.repo.Host, Name: name}, "v1")
				l.ErrorIs(err, errdefs.ErrInvalidArgument, "repository "+name)
			}
			for _, ref := range []string{"", "a/b", "..", "sha256:short", "a b", "-x", strings.Repeat("x", 129)} {
				_, err := l.d.GetManifest(l.ctx, l.repo, ref)
				l.ErrorIs(err, errdefs.ErrInvalidArgument, "reference "+ref)
			}
		}},
		{"the digest is computed from the bytes, whatever the registry says", func(l *registryLab) {
			s := newRegistryServer(l.T)
			r := l.at(s.host)
			m := l.pushImage(r, "v1")
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, "/manifests/v1") {
					return false
				}
				w.Header().Set("Content-Type", m.Descriptor.MediaType)
				w.Header().Set("Docker-Content-Digest", digest.FromString("a lie").String())
				_, _ = w.Write(m.Bytes) // the client's affair
				return true
			})
			got, err := l.d.GetManifest(l.ctx, r, "v1")
			if err == nil {
				err = sameDescriptor(got.Descriptor, m.Descriptor)
			}
			l.NoError(err, "get manifest")
		}},
		{"a manifest with another digest than asked for is refused", func(l *registryLab) {
			s := newRegistryServer(l.T)
			r := l.at(s.host)
			m := l.pushImage(r, "v1")
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", m.Descriptor.MediaType)
				_, _ = w.Write(append(bytes.Clone(m.Bytes), ' ')) // the client's affair
				return true
			})
			_, err := l.d.GetManifest(l.ctx, r, m.Descriptor.Digest.String())
			l.ErrorIs(err, errdefs.ErrDataLoss, "get a changed manifest")
		}},
		{"a manifest larger than the limit is refused", func(l *registryLab) {
			s := newRegistryServer(l.T)
			s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.Contains(q.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				for range registry.MaxManifestSize/(1<<20) + 2 {
					if _, err := w.Write(make([]byte, 1<<20)); err != nil {
						return true
					}
				}
				return true
			})
			_, err := l.d.GetManifest(l.ctx, l.at(s.host), "v1")
			l.ErrorIs(err, errdefs.ErrOutOfRange, "get a huge manifest")
		}},
		{"a registry that answers HEAD badly is asked with GET", func(l *registryLab) {
			s := newRegistryServer(l.T)
			r := l.at(s.host)
			m := l.pushImage(r, "v1")
			for _, f := range []func(w http.ResponseWriter){
				func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) },
				func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, // no digest, no size
			} {
				s.setFault(func(w http.ResponseWriter, q *http.Request) bool {
					if q.Method == http.MethodHead {
						f(w)
					}
					return q.Method == http.MethodHead
				})
				got, err := l.d.Resolve(l.ctx, r, "v1")
				l.NoError(err, "resolve")
				l.NoError(sameDescriptor(got, m.Descriptor), "resolve")
			}
		}},
	}
}
