package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
)

func TestMountsLieWhereADriverMayHaveThem(t *testing.T) {
	cfg := config.Default()
	cfg.StateDir = t.TempDir()
	h := newHost(cfg, hclog.NewNullLogger(), []spec{{kind: driver.Storage, name: "x", key: "storage", config: config.Driver{
		Options: map[string]any{"root": "/data/x", "pools": []any{map[string]any{"at": "/pool/"}}, "n": 7, "word": "etc"},
	}}})
	in := h.instances[0]
	own := in.stateDir()
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	real := t.TempDir()
	if err := os.Symlink(real, own); err != nil {
		t.Fatal(err)
	}
	for source, ok := range map[string]bool{
		own + "/1": true, real + "/1": true, "/data/x/1/fs": true, "/pool/1": true,
		"/": false, "/etc": false, "etc": false, own: false, own + "/../storage-y/1": false, own + "-y/1": false, "/data/x": false,
		"/data/xy": false, cfg.StateDir: false, own + "/../../containers/1": false, "../x": false, "": false,
	} {
		for _, m := range []mount.Mount{
			{Type: "bind", Source: source, Options: []string{"rbind", "rw"}},
			{Type: "bind", Source: source, Options: []string{"rbind", "ro"}},
			{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/data/x/0:" + source + "/l", "upperdir=/data/x/u"}},
			{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/data/x/0", "upperdir=" + source + "/u"}},
		} {
			if m.Type == "overlay" && (source == own || source == "/data/x") {
				continue // what is in it is the driver's
			}
			err := in.confined("Mounts", []mount.Mount{{Type: "erofs", Source: "/dev/loop0"}, m})
			if (err == nil) != ok || err != nil && !errdefs.IsInternal(err) {
				t.Errorf("%q in %+v: %v", source, m, err)
			}
		}
	}
}
