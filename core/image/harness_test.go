package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ggcrname "github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/hashicorp/go-hclog"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/unpack"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/storage"
)

// harness is a Service on real drivers: the overlay and the http binaries,
// and a registry in this process.
type harness struct {
	*Service
	t        testing.TB
	dir      string
	store    *store.Store
	storage  *plugin.Client
	registry *plugin.Client

	storageConf, registryConf driver.Config
	host                      string // of the registry

	mu       sync.Mutex
	messages []jsonstream.Message // guarded by mu
	events   []string             // guarded by mu
	users    []User
	fault    func(w http.ResponseWriter, r *http.Request) bool // true: answered
	requests []string                                          // guarded by mu; of blobs, "GET path range"
	inner    http.Handler
	inOrder  bool // hide the storage driver's Applier
}

func (h *harness) Storage() storage.Driver {
	d, _ := h.storage.Storage()
	if h.inOrder {
		return struct{ storage.Driver }{d}
	}
	return d
}

func (h *harness) Registry(string) (registry.Driver, error) {
	d, _ := h.registry.Registry()
	return d, nil
}

func (h *harness) Publish(_ events.Type, a events.Action, id string, _ map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, string(a)+" "+id)
}

func (h *harness) ImageUsers(context.Context, digest.Digest) ([]User, error) { return h.users, nil }

func (h *harness) send(m jsonstream.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, m)
}

// said returns the status texts since the last call, with their ids.
func (h *harness) said() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, m := range h.messages {
		switch {
		case m.Stream != "":
			out = append(out, strings.TrimSuffix(m.Stream, "\n"))
		case m.ID != "":
			out = append(out, m.ID+": "+m.Status)
		case m.Status != "":
			out = append(out, m.Status)
		}
	}
	h.messages = nil
	return out
}

var binaries struct {
	sync.Mutex
	paths map[string]string
	dir   string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries.dir != "" {
		if err := os.RemoveAll(binaries.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// binary builds a driver once for all tests.
func binary(t testing.TB, pkg string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	if p, ok := binaries.paths[pkg]; ok {
		return p
	}
	built := conformance.Build(t, "github.com/strakehq/strake/plugins/"+pkg)
	if binaries.dir == "" {
		dir, err := os.MkdirTemp("", "strake-image-test-") //nolint:usetesting // lives until the last test has ended
		if err != nil {
			t.Fatal(err)
		}
		binaries.dir, binaries.paths = dir, map[string]string{}
	}
	to := filepath.Join(binaries.dir, pkg)
	if err := os.Rename(built, to); err != nil {
		t.Fatal(err)
	}
	binaries.paths[pkg] = to
	return to
}

// relaunch launches both drivers, as after their death.
func (h *harness) relaunch() {
	h.t.Helper()
	h.storage = launch(h.t, "storage-overlay", h.storageConf)
	h.registry = launch(h.t, "registry-http", h.registryConf)
}

func launch(t testing.TB, pkg string, c driver.Config) *plugin.Client {
	t.Helper()
	cl, err := plugin.Launch(context.Background(), plugin.LaunchConfig{
		Path: binary(t, pkg), SocketDir: filepath.Join(filepath.Dir(c.RunDir), "sock"), Logger: hclog.NewNullLogger(), Config: &c,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Kill)
	return cl
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir()}
	h.storageConf = conformance.TestConfig(t, "{}")
	h.registryConf = conformance.TestConfig(t, `{"auth_file": "/nonexistent", "hosts_dir": "/nonexistent", "certs_dir": "/nonexistent"}`)
	h.relaunch()
	h.inner = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		fault := h.fault
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			h.requests = append(h.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		}
		h.mu.Unlock()
		if fault == nil || !fault(w, r) {
			ranged(h.inner, w, r)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	h.host = strings.TrimPrefix(srv.URL, "http://")
	h.open()
	return h
}

// ranged serves open-ended ranges, which the registry of go-containerregistry
// does not.
func ranged(inner http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Range") == "" {
		inner.ServeHTTP(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole(inner, r)))
}

func whole(inner http.Handler, r *http.Request) []byte {
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	rec := httptest.NewRecorder()
	inner.ServeHTTP(rec, plain)
	return rec.Body.Bytes()
}

// asked returns the blob requests since the last call.
func (h *harness) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.requests
	h.requests = nil
	return out
}

func (h *harness) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// open opens the Service as a daemon does at its start.
func (h *harness) open() {
	h.t.Helper()
	st, err := store.Open(filepath.Join(h.dir, "strake.db"), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			h.t.Error(err)
		}
	})
	h.store = st
	h.Service, err = Open(Config{Dir: h.dir, Store: st, Drivers: h, Events: h, Users: h, Log: hclog.NewNullLogger()})
	if err != nil {
		h.t.Fatal(err)
	}
}

// reopen opens it again as after kill -9.
func (h *harness) reopen() {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

// ref is a reference in the test's registry.
func (h *harness) ref(s string) string { return h.host + "/" + s }

// layerOf makes a gzip layer with the files given, name → content.
func layerOf(t testing.TB, files ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		h := tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg, ModTime: time.Unix(1e9, 0)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := ggcrtar.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// imageOf makes an image for this machine.
func imageOf(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return configured(t, img, func(c *v1.ConfigFile) {
		c.OS, c.Architecture = "linux", runtime.GOARCH
		c.Config.Cmd = []string{"/bin/true"}
		c.Config.Labels = map[string]string{"made-by": "test"}
		c.Created = v1.Time{Time: time.Unix(1.7e9, 0)}
	})
}

func configured(t testing.TB, img v1.Image, f func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	f(c)
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

func (h *harness) upload(ref string, what any) digest.Digest {
	h.t.Helper()
	r, err := ggcrname.ParseReference(h.ref(ref))
	if err != nil {
		h.t.Fatal(err)
	}
	var d v1.Hash
	switch x := what.(type) {
	case v1.Image:
		err = remote.Write(r, x)
		if err == nil {
			d, err = x.Digest()
		}
	case v1.ImageIndex:
		err = remote.WriteIndex(r, x)
		if err == nil {
			d, err = x.Digest()
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return digest.Digest(d.String())
}

// files reads what an image's snapshots show, name → content.
func (h *harness) files(ref string) map[string]string {
	h.t.Helper()
	img, err := h.Get(h.t.Context(), ref)
	if err != nil {
		h.t.Fatal(err)
	}
	s := h.Storage()
	key := storage.SnapshotKey("look-" + short(img.ID))
	mounts, err := s.View(h.t.Context(), key, img.ChainID, storage.PrepareOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string]string{}
	if err := unpack.Mounted(h.t.Context(), mounts, func(root string) error {
		return filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			rel, _ := filepath.Rel(root, p)
			out[rel] = string(data)
			return err
		})
	}); err != nil {
		h.t.Fatal(err)
	}
	if err := s.Remove(h.t.Context(), key); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func contains(t testing.TB, lines []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, w) }) {
			b, _ := json.MarshalIndent(lines, "", " ")
			t.Errorf("%q is not among %s", w, b)
		}
	}
}

func (h *harness) pulled(ref string) {
	h.t.Helper()
	if err := h.Pull(h.t.Context(), images.PullOptions{Image: h.ref(ref)}, h.send); err != nil {
		h.t.Fatal(err)
	}
	h.said()
}
