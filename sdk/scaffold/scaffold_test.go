package scaffold_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/scaffold"
)

func TestEverySkeletonCompilesWithItsTest(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range driver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			if err := scaffold.Write(dir, scaffold.Config{Kind: kind, Name: "mine-2", Replace: root}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "go", "vet", "./...")
			cmd.Dir = dir
			// Modules that are not in the cache yet are fetched, as by a third party.
			cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod "+os.Getenv("GOFLAGS"), "GOWORK=off", "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func TestWrongWishesAreRefused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir   string
		c     scaffold.Config
		class error
		says  string
	}{
		{t.TempDir(), scaffold.Config{Kind: "volume", Name: "x"}, errdefs.ErrInvalidArgument, "must be storage, runtime, network or registry"},
		{t.TempDir(), scaffold.Config{Kind: driver.Storage, Name: "X/.."}, errdefs.ErrInvalidArgument, "lower-case"},
		{t.TempDir(), scaffold.Config{Kind: driver.Storage}, errdefs.ErrInvalidArgument, "lower-case"},
		{full, scaffold.Config{Kind: driver.Storage, Name: "x"}, errdefs.ErrAlreadyExists, "not empty"},
	} {
		err := scaffold.Write(c.dir, c.c)
		if err == nil || errdefs.Resolve(err).Error() != c.class.Error() || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.c, err)
		}
	}
}
