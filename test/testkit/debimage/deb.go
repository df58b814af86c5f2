// Package debimage builds container images from Debian packages, so that tests
// and demonstrations run real programs with no registry beyond the machine.
package debimage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Fetch downloads the packages and all that they depend on into dir, unless
// they are there, and returns the paths of the files by package name. Needs apt
// with up-to-date lists.
func Fetch(ctx context.Context, dir string, packages ...string) (map[string]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return nil, err
	}
	// An empty dpkg status makes apt resolve as on a machine with nothing
	// installed, so that libraries of this machine are fetched too.
	status := filepath.Join(dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	apt := []string{
		"-y", "-qq", "-o", "Dir::State::status=" + status, "-o", "Debug::NoLocking=1",
		"-o", "Dir::Cache::archives=" + dir, "-o", "APT::Install-Recommends=false", "-o", "APT::Sandbox::User=root",
	}
	uris, err := run(ctx, "apt-get", append(append(apt, "--print-uris", "install"), packages...)...)
	if err != nil {
		return nil, err
	}
	// What apt does not list it has in dir already.
	if len(uris) > 0 {
		if _, err := run(ctx, "apt-get", append(append(apt, "--download-only", "install"), packages...)...); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, f := range files {
		name, _, _ := strings.Cut(filepath.Base(f), "_")
		byName[name] = f
	}
	for _, p := range packages {
		if byName[p] == "" {
			return nil, fmt.Errorf("package %s: not downloaded into %s", p, dir)
		}
	}
	return byName, nil
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// Tree is a layer's content in the making: what comes last under a name wins.
type Tree struct {
	headers map[string]*tar.Header
	bodies  map[string][]byte
	order   []string
}

// NewTree returns an empty tree.
func NewTree() *Tree { return &Tree{headers: map[string]*tar.Header{}, bodies: map[string][]byte{}} }

// Add puts one entry; name has no leading slash.
func (t *Tree) Add(h tar.Header, body []byte) {
	h.Size = int64(len(body))
	if _, ok := t.headers[h.Name]; !ok {
		t.order = append(t.order, h.Name)
	}
	t.headers[h.Name], t.bodies[h.Name] = &h, body
}

// File adds a regular file with mode 0644 owned by root.
func (t *Tree) File(name, content string) {
	t.Add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: epoch}, []byte(content))
}

// Symlink adds a symbolic link.
func (t *Tree) Symlink(name, target string) {
	t.Add(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: epoch}, nil)
}

// Dir adds a directory.
func (t *Tree) Dir(name string, mode int64) {
	t.Add(tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode, ModTime: epoch}, nil)
}

// Package adds a Debian package's files, moved below /usr where they belong on
// a merged system.
func (t *Tree) Package(ctx context.Context, deb string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	addErr := t.addAll(tar.NewReader(out))
	return errors.Join(addErr, cmd.Wait())
}

func (t *Tree) addAll(r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = merged(h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = merged(h.Linkname)
		}
		if h.Name == "" || mergedDirs[strings.TrimSuffix(h.Name, "/")] {
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		h.Format = tar.FormatPAX
		t.Add(*h, body)
	}
}

var mergedDirs = map[string]bool{"bin": true, "sbin": true, "lib": true, "lib64": true}

// merged maps ./lib/x to usr/lib/x, as on a system with merged /usr.
func merged(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "./"), "/")
	first, rest, ok := strings.Cut(name, "/")
	if ok && rest != "" && mergedDirs[first] {
		return "usr/" + name
	}
	return name
}

// Tar renders the tree, parents first.
func (t *Tree) Tar() ([]byte, error) {
	names := append([]string(nil), t.order...)
	sort.Strings(names)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	// Hard links come after everything, so that their targets exist.
	for _, links := range []bool{false, true} {
		for _, n := range names {
			h := t.headers[n]
			if (h.Typeflag == tar.TypeLink) != links {
				continue
			}
			if err := w.WriteHeader(h); err != nil {
				return nil, fmt.Errorf("%s: %w", n, err)
			}
			if _, err := w.Write(t.bodies[n]); err != nil {
				return nil, fmt.Errorf("%s: %w", n, err)
			}
		}
	}
	return buf.Bytes(), w.Close()
}
