// Package registry is the contract of registry drivers: they resolve
// references, and fetch and push manifests and blobs.
//
// A driver moves bytes; it does not store them and is not trusted with them:
// the core verifies every digest. Blob bytes reach authors as an io.Reader and
// travel beside gRPC, over a unix socket.
//
// Names are split as in the OCI distribution specification: Host is the
// registry ("docker.io" included, which the driver maps to its real address),
// Repository the path below it ("library/nginx"). Mirrors, TLS settings and
// retries are the driver's business, by its options.
package registry

import (
	"context"
	"io"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/driver"
)

// Secret is a string that never shows in logs or errors.
type Secret string

// String returns "***" or, for an empty secret, "".
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Credentials go with a request, are never stored and never logged. Empty
// means that the driver may use those that its host's configuration offers
// (config.json, credential helpers), else anonymous access.
type Credentials struct {
	Username      string
	Password      Secret
	IdentityToken Secret
	RegistryToken Secret
}

// Repository is where a request goes.
type Repository struct {
	Host        string
	Name        string
	Credentials Credentials
}

// Manifest is a manifest or index as the registry has it.
type Manifest struct {
	Descriptor ocispec.Descriptor
	Bytes      []byte
}

// Driver is the registry contract.
//
// Errors: unknown repository, tag or digest ErrNotFound; wrong or missing
// credentials ErrUnauthenticated; no right ErrPermissionDenied; registry not
// reachable ErrUnavailable; too many requests ErrResourceExhausted. Messages
// name the host and the reference, never a secret.
type Driver interface {
	driver.Driver

	// Resolve returns the descriptor of a tag or digest, with no body.
	Resolve(ctx context.Context, r Repository, reference string) (ocispec.Descriptor, error)
	// GetManifest returns a manifest or index by tag or digest, at most
	// MaxManifestSize bytes. The digest is computed from the bytes.
	GetManifest(ctx context.Context, r Repository, reference string) (Manifest, error)
	// StatBlob says whether a blob is there, and its size.
	StatBlob(ctx context.Context, r Repository, d digest.Digest) (ocispec.Descriptor, error)
	// FetchBlob returns a blob's bytes from offset on. The driver retries
	// and resumes by range on its own; the reader fails with a classed
	// error when it gave up. The caller closes the reader.
	FetchBlob(ctx context.Context, r Repository, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
	// PushBlob uploads a blob, whose size is in the descriptor, unless the
	// registry has it.
	PushBlob(ctx context.Context, r Repository, d ocispec.Descriptor, content io.Reader) error
	// MountBlob asks the registry to take the blob over from another
	// repository of the same host. False: not possible, push it.
	MountBlob(ctx context.Context, r Repository, d digest.Digest, from string) (bool, error)
	// PutManifest uploads a manifest under a tag or its digest.
	PutManifest(ctx context.Context, r Repository, reference string, m Manifest) error
	// ListTags returns all tags of a repository.
	ListTags(ctx context.Context, r Repository) ([]string, error)
	// ListReferrers returns the manifests that refer to d, by the referrers
	// API or its tag fallback. An empty artifact type means all.
	ListReferrers(ctx context.Context, r Repository, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error)
	// Login checks credentials with a registry. The identity token is set
	// when the registry gave one.
	Login(ctx context.Context, host string, c Credentials) (LoginResult, error)
}

// LoginResult is the answer to Login.
type LoginResult struct {
	// IdentityToken is to be stored in the place of the password, if any.
	IdentityToken Secret
}

// MaxManifestSize bounds manifests, in bytes (the OCI distribution
// specification asks for 4 MiB at least).
const MaxManifestSize = 8 << 20
