package registrywire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/internal/wire/wiretest"
	"github.com/strakehq/strake/sdk/registry"
)

func TestNoFieldIsLost(t *testing.T) {
	var f wiretest.Filler
	var r registry.Repository
	f.Fill(&r)
	if got := fromRepository(toRepository(r)); got != r {
		t.Errorf("%+v, want %+v", got, r)
	}
	var d ocispec.Descriptor
	f.Fill(&d)
	b, err := toDescriptor(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fromDescriptor(b)
	if diff := cmp.Diff(d, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := fromDescriptor([]byte("{")); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	r := registry.Repository{Credentials: registry.Credentials{Username: "u", Password: "hush", IdentityToken: "hush", RegistryToken: "hush"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, r); strings.Contains(s, "hush") {
			t.Error(s)
		}
	}
}
