package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time stamp of all files made here, so that digests repeat.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

const nginxConf = `user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 1024; }
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	sendfile on;
	server {
		listen 80;
		root /usr/share/nginx/html;
		location / { index index.html; }
	}
}
`

// Names lists the images that Build knows.
func Names() []string { return []string{"busybox", "nginx"} }

// Build makes an image by name, as an OCI index with one manifest for this
// machine's architecture and one for another. Packages are cached in dir.
func Build(ctx context.Context, name, dir string) (v1.ImageIndex, error) {
	build, ok := map[string]func(context.Context, string) (v1.Image, error){"busybox": busybox, "nginx": nginx}[name]
	if !ok {
		return nil, fmt.Errorf("image %q: unknown, known are %s", name, strings.Join(Names(), ", "))
	}
	img, err := build(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	other, err := foreign()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	return mutate.AppendManifests(idx,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
	), nil
}

// foreign is an image for a machine that nobody has here: whoever runs it chose
// the wrong manifest of the index.
func foreign() (v1.Image, error) {
	t := NewTree()
	t.File("wrong-platform", "this image is for another architecture\n")
	return assemble("s390x", v1.Config{Cmd: []string{"/wrong-platform"}}, t)
}

func busybox(ctx context.Context, dir string) (v1.Image, error) {
	t, err := base(ctx, dir)
	if err != nil {
		return nil, err
	}
	return assemble(runtime.GOARCH, v1.Config{Cmd: []string{"sh"}, Env: []string{path}}, t)
}

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// base is busybox with its applets, and the users of a Debian system.
func base(ctx context.Context, dir string) (*Tree, error) {
	debs, err := Fetch(ctx, dir, "busybox-static", "base-passwd")
	if err != nil {
		return nil, err
	}
	t, pw := NewTree(), NewTree()
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		t.Symlink(d, "usr/"+d)
		t.Dir("usr/"+d, 0o755)
	}
	for _, d := range []string{"dev", "etc", "home", "proc", "run", "sys", "usr", "usr/local", "usr/local/bin", "var", "var/log", "var/lib"} {
		t.Dir(d, 0o755)
	}
	t.Dir("root", 0o700)
	t.Dir("tmp", 0o1777)
	if err := t.Package(ctx, debs["busybox-static"]); err != nil {
		return nil, err
	}
	if err := pw.Package(ctx, debs["base-passwd"]); err != nil {
		return nil, err
	}
	t.File("etc/passwd", strings.ReplaceAll(string(pw.bodies["usr/share/base-passwd/passwd.master"]), ":*:", ":x:"))
	t.File("etc/group", strings.ReplaceAll(string(pw.bodies["usr/share/base-passwd/group.master"]), ":*:", ":x:"))
	t.File("etc/os-release", "PRETTY_NAME=\"Debian parts\"\nID=debian\n")
	return t, applets(ctx, t)
}

// applets links every applet's name to busybox.
func applets(ctx context.Context, t *Tree) (err error) {
	dir, err := os.MkdirTemp("", "strake-applets-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin := filepath.Join(dir, "busybox")
	if err := os.WriteFile(bin, t.bodies["usr/bin/busybox"], 0o755); err != nil {
		return err
	}
	list, err := run(ctx, bin, "--list")
	if err != nil {
		return err
	}
	for a := range strings.FieldsSeq(string(list)) {
		if a != "busybox" {
			t.Symlink("usr/bin/"+a, "busybox")
		}
	}
	return nil
}

func nginx(ctx context.Context, dir string) (v1.Image, error) {
	debs, err := Fetch(ctx, dir, "nginx", "busybox-static", "base-passwd")
	if err != nil {
		return nil, err
	}
	bottom, err := base(ctx, dir)
	if err != nil {
		return nil, err
	}
	libs, server, conf := NewTree(), NewTree(), NewTree()
	for _, name := range slices.Sorted(maps.Keys(debs)) {
		switch {
		case strings.HasPrefix(name, "nginx"):
			err = server.Package(ctx, debs[name])
		case strings.HasPrefix(name, "lib") || name == "zlib1g":
			err = libs.Package(ctx, debs[name])
		}
		if err != nil {
			return nil, err
		}
	}
	conf.File("etc/nginx/nginx.conf", nginxConf)
	// The package's default site is replaced by the configuration above.
	conf.File("etc/nginx/sites-available/.wh.default", "")
	return assemble(runtime.GOARCH, v1.Config{
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		Env:          []string{path, "NGINX_VERSION=" + version(debs["nginx"])},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
		Labels:       map[string]string{"maintainer": "Debian nginx packages"},
	}, bottom, libs, server, conf)
}

func version(deb string) string {
	_, v, _ := strings.Cut(deb, "_")
	v, _, _ = strings.Cut(v, "-")
	return v
}

func assemble(arch string, cfg v1.Config, layers ...*Tree) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: arch, OS: "linux", Config: cfg, Created: v1.Time{Time: epoch},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, t := range layers {
		data, err := t.Tar()
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer: l, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "debian packages"},
		})
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}
