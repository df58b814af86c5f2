// Command hostile is a registry driver that lies, floods, hangs and leaks, and a
// runtime driver that tells of other people's containers: which of the two, its
// file name says; how, its options.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/runtime"
)

const schema = `{"type": "object", "properties": {"ids": {"type": "string"}}}`

func main() {
	if strings.Contains(filepath.Base(os.Args[0]), "runtime") {
		plugin.Serve(plugin.ServeConfig{Driver: &gossip{}})
		return
	}
	plugin.Serve(plugin.ServeConfig{Driver: &liar{}})
}

// liar is the registry driver. The repository's name says what it does.
type liar struct{ driver.Base }

func (*liar) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Registry, Name: "hostile", Version: strings.Repeat("9", 1<<10)}, nil
}

func (*liar) Configure(context.Context, driver.Config) error { return nil }

// WatchHealth floods.
func (*liar) WatchHealth(ctx context.Context, report func(driver.Health)) error {
	for n := 0; ctx.Err() == nil; n++ {
		report(driver.Health{Status: driver.Ready, Reason: fmt.Sprint(n)})
		if n%1000 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

func trick(r registry.Repository) string { return filepath.Base(r.Name) }

func manifest(layers ...ocispec.Descriptor) registry.Manifest {
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Layers: layers,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config()), Size: int64(len(config()))},
	}
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return registry.Manifest{Bytes: b, Descriptor: ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}}
}

func config() []byte {
	return []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digest.FromString("layer").String() + `"]}}`)
}

func layer() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("layer"), Size: 5}
}

func (*liar) Resolve(_ context.Context, r registry.Repository, _ string) (ocispec.Descriptor, error) {
	return manifest(layer()).Descriptor, nil
}

func (*liar) GetManifest(ctx context.Context, r registry.Repository, _ string) (registry.Manifest, error) {
	m := manifest(layer())
	switch trick(r) {
	case "other-digest":
		m.Descriptor.Digest = digest.FromString("something else")
	case "other-size":
		m.Descriptor.Size += 7
	case "huge-manifest":
		m.Bytes = make([]byte, 15<<20)
		m.Descriptor.Digest, m.Descriptor.Size = digest.FromBytes(m.Bytes), int64(len(m.Bytes))
	case "no-json":
		m.Bytes = []byte("\x00\xff{")
		m.Descriptor.Digest, m.Descriptor.Size = digest.FromBytes(m.Bytes), int64(len(m.Bytes))
	case "bad-digest":
		l := layer()
		l.Digest = "../../../../etc/passwd"
		return manifest(l), nil
	case "negative-size":
		l := layer()
		l.Size = -5
		return manifest(l), nil
	case "panics":
		panic("on purpose")
	case "exits":
		os.Exit(3)
	case "strange-error":
		return m, fmt.Errorf("%s: %w", strings.Repeat("x", 1<<20), errdefs.ErrAlreadyExists)
	case "floods-log":
		for line := strings.Repeat("flood ", 1<<12); ctx.Err() == nil; {
			fmt.Fprintln(os.Stderr, line)
		}
	case "leaks":
		for range 1000 {
			if _, err := os.Open("/dev/null"); err != nil {
				return m, err
			}
			go func() { select {} }()
		}
	}
	return m, nil
}

func (*liar) StatBlob(context.Context, registry.Repository, digest.Digest) (ocispec.Descriptor, error) {
	return layer(), nil
}

func (*liar) FetchBlob(ctx context.Context, r registry.Repository, d ocispec.Descriptor, _ int64) (io.ReadCloser, error) {
	if d.MediaType == ocispec.MediaTypeImageConfig && trick(r) != "other-config" {
		return io.NopCloser(strings.NewReader(string(config()))), nil
	}
	switch trick(r) {
	case "other-config":
		return io.NopCloser(strings.NewReader(strings.Repeat("x", int(d.Size)))), nil
	case "endless":
		return io.NopCloser(zeros{}), nil
	case "short":
		return io.NopCloser(strings.NewReader("la")), nil
	case "stops":
		r, w := io.Pipe()
		go func() {
			if _, err := w.Write([]byte("la")); err == nil {
				<-ctx.Done()
			}
		}()
		return r, nil
	case "dies-in-blob":
		go func() { time.Sleep(50 * time.Millisecond); os.Exit(3) }()
		r, _ := io.Pipe()
		return r, nil
	}
	return io.NopCloser(strings.NewReader("reyal")), nil // as long, and wrong
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (*liar) PushBlob(context.Context, registry.Repository, ocispec.Descriptor, io.Reader) error {
	return nil
}

func (*liar) MountBlob(context.Context, registry.Repository, digest.Digest, string) (bool, error) {
	return true, nil
}

func (*liar) PutManifest(context.Context, registry.Repository, string, registry.Manifest) error {
	return nil
}

func (*liar) ListTags(context.Context, registry.Repository) ([]string, error) {
	return []string{"../../x", "", "\x00"}, nil
}

func (*liar) ListReferrers(context.Context, registry.Repository, digest.Digest, string) ([]ocispec.Descriptor, error) {
	return nil, nil
}

func (*liar) Login(context.Context, string, registry.Credentials) (registry.LoginResult, error) {
	return registry.LoginResult{}, nil
}

// gossip is the runtime driver: it tells of the ends of containers that are not
// its own, named by the file "ids" in its state directory.
type gossip struct {
	driver.Base
	runtime.Driver
	dir string
}

func (*gossip) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Runtime, Name: "hostile", Version: "1", OptionsSchema: []byte(schema)}, nil
}

func (g *gossip) Configure(_ context.Context, c driver.Config) error {
	g.dir = c.StateDir
	return nil
}

func (g *gossip) WatchHealth(ctx context.Context, f func(driver.Health)) error {
	return g.Base.WatchHealth(ctx, f)
}
func (g *gossip) Shutdown(ctx context.Context) error { return g.Base.Shutdown(ctx) }

func (g *gossip) Create(_ context.Context, r runtime.CreateRequest) (driver.Handle, runtime.State, error) {
	return driver.Handle{Version: 1, State: []byte("somebody else's")}, runtime.State{}, fmt.Errorf("container %s: not made: %w", r.ID, errdefs.ErrUnavailable)
}

func (*gossip) Delete(context.Context, runtime.ContainerID, bool) (*runtime.Exit, error) {
	return nil, nil
}
func (*gossip) Collect(context.Context, []runtime.ContainerID) error { return nil }

func (g *gossip) WatchEvents(ctx context.Context, deliver func(runtime.Event)) error {
	for ctx.Err() == nil {
		b, err := os.ReadFile(filepath.Join(g.dir, "ids"))
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for _, id := range strings.Fields(string(b)) {
			deliver(runtime.Event{
				Kind: runtime.ProcessExited, ID: runtime.ContainerID(id), At: time.Now(),
				Exit: &runtime.Exit{Code: 66, Known: true, At: time.Now()},
			})
		}
		if err := os.WriteFile(filepath.Join(g.dir, "told"), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}
