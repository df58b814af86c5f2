package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/registry"
)

// RegistryEnv says which registries a suite may use. The zero value means
// registries that the kit makes itself. Registries with faults are always the
// kit's; all are on loopback and speak plain HTTP, which a driver must accept
// there.
type RegistryEnv struct {
	// Registry is host:port of a registry that anybody may read and write.
	Registry string
	// Mounts: it takes blobs over from other repositories.
	Mounts bool
	// Private is host:port of one that wants Credentials.
	Private     string
	Credentials registry.Credentials
}

// RegistryCases are the demands of the registry contract. The driver's retries
// should be set to be quick: servers fail a few times in a row.
func RegistryCases(s Subject[registry.Driver], env RegistryEnv) []Case {
	var all []Case
	for _, group := range [][]registryCase{
		manifestCases(), blobCases(), brokenBlobCases(), pushCases(), registryListCases(), authCases(), refusalCases(),
	} {
		for _, c := range group {
			all = append(all, Case{Name: c.name, Run: func(t *T) { c.run(newRegistryLab(t, s, env)) }})
		}
	}
	return all
}

type registryCase struct {
	name string
	run  func(l *registryLab)
}

// registryLab is one case's driver and a repository of its own.
type registryLab struct {
	*T
	subject Subject[registry.Driver]
	env     RegistryEnv
	d       registry.Driver
	repo    registry.Repository
}

func newRegistryLab(t *T, s Subject[registry.Driver], env RegistryEnv) *registryLab {
	l := &registryLab{T: t, subject: s, env: env, d: s.Driver()}
	if env.Registry == "" {
		l.env.Registry = newRegistryServer(t).host
	}
	l.repo = l.at(l.env.Registry)
	return l
}

// at is a fresh repository at a host.
func (l *registryLab) at(host string) registry.Repository {
	return registry.Repository{Host: host, Name: "strake-kit/" + strings.ToLower(rand.Text())}
}

// crash kills the driver, if it is a process that may be killed.
func (l *registryLab) crash() { l.d = l.subject.Crash(l.T) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return b
}

func descriptorOf(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// pushBlob puts bytes into a repository.
func (l *registryLab) pushBlob(r registry.Repository, b []byte) ocispec.Descriptor {
	d := descriptorOf(ocispec.MediaTypeImageLayerGzip, b)
	l.NoError(l.d.PushBlob(l.ctx, r, d, bytes.NewReader(b)), "push a blob")
	return d
}

// pushImage puts an image of one layer into a repository and returns its
// manifest.
func (l *registryLab) pushImage(r registry.Repository, tag string) registry.Manifest {
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: l.pushBlob(r, config), Layers: []ocispec.Descriptor{l.pushBlob(r, randomBytes(100))},
	}
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	return l.putManifest(r, tag, m.MediaType, m)
}

func (l *registryLab) putManifest(r registry.Repository, ref, mediaType string, doc any) registry.Manifest {
	data, err := json.Marshal(doc)
	l.NoError(err, "write a manifest")
	m := registry.Manifest{Descriptor: descriptorOf(mediaType, data), Bytes: data}
	if ref == "" {
		ref = m.Descriptor.Digest.String()
	}
	l.NoError(l.d.PutManifest(l.ctx, r, ref, m), "put manifest "+ref)
	return m
}

// fetch reads a blob whole.
func (l *registryLab) fetch(ctx context.Context, r registry.Repository, d ocispec.Descriptor, offset int64) ([]byte, error) {
	rc, err := l.d.FetchBlob(ctx, r, d, offset)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(rc)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	return data, err
}

// wantBytes fetches and compares.
func (l *registryLab) wantBytes(r registry.Repository, want []byte, offset int64, doing string) {
	got, err := l.fetch(l.ctx, r, descriptorOf("", want), offset)
	l.NoError(err, doing)
	if !bytes.Equal(got, want[offset:]) {
		l.Fatalf("%s: got %d bytes that differ from the %d pushed", doing, len(got), int64(len(want))-offset)
	}
}

// names checks that an error's message says where and what.
func (l *registryLab) names(err error, words ...string) {
	if err == nil {
		l.Fatalf("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			l.Errorf("the error does not name %q: %w", w, err)
		}
	}
}

func sameDescriptor(got, want ocispec.Descriptor) error {
	if got.Digest != want.Digest || got.Size != want.Size || got.MediaType != want.MediaType {
		return fmt.Errorf("descriptor is %s %d %s, want %s %d %s", got.MediaType, got.Size, got.Digest, want.MediaType, want.Size, want.Digest)
	}
	return nil
}
