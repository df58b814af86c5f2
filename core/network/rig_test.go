package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/network"
)

// binaryVar names the built bridge driver to tests in namespaces of their own.
const binaryVar = "STRAKE_TEST_NET_BRIDGE"

func TestMain(m *testing.M) {
	if os.Getenv(binaryVar) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "core-network-test-")
	if err != nil {
		panic(err)
	}
	path := filepath.Join(dir, "strake-net-bridge")
	build := exec.Command("go", "build", "-o", path, "github.com/strakehq/strake/plugins/net-bridge")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the driver: %v\n%s", err, out))
	}
	os.Setenv(binaryVar, path)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// rig is a manager over the real bridge driver, in namespaces of its own.
type rig struct {
	*Manager
	t      *testing.T
	dir    string
	store  *store.Store
	driver conformance.Subject[network.Driver]
	conf   driver.Config
	seen   *eventList
	// detached is called after every Detach of the driver, if it is set.
	detached func()
}

type eventList struct {
	mu  sync.Mutex
	all []string
}

func (l *eventList) Publish(t events.Type, a events.Action, _ string, attrs map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf("%s %s %s", t, a, attrs["name"]))
}

func (r *rig) Network(name string) (network.Driver, error) {
	if name != "" && name != "bridge" {
		return nil, fmt.Errorf("no network driver %q", name)
	}
	if r.detached != nil {
		return observed{r.driver.Driver(), r.detached}, nil
	}
	return r.driver.Driver(), nil
}

// observed tells of detachments before their caller knows of them.
type observed struct {
	network.Driver
	detached func()
}

func (o observed) Detach(ctx context.Context, e network.EndpointID) error {
	err := o.Driver.Detach(ctx, e)
	o.detached()
	return err
}

// isolated runs a test with a rig in namespaces of its own.
func isolated(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Parallel()
	if !conformance.Isolated(t) {
		return
	}
	c := conformance.TestConfig(t, `{}`)
	s, err := conformance.Binary[network.Driver](t.Context(), conformance.BinaryConfig{Path: os.Getenv(binaryVar), Config: c, Kills: true})
	r := &rig{t: t, dir: t.TempDir(), driver: conformance.Opened(t, s, err), conf: c, seen: &eventList{}}
	r.open()
	t.Cleanup(r.end)
	test(t, r)
}

// open makes the manager as a daemon's start does.
func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.store, err = store.Open(filepath.Join(r.dir, "state", "strake.db"), nil); err != nil {
		r.t.Fatal(err)
	}
	resolv := filepath.Join(r.dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\nnameserver 192.0.2.53\nsearch example.org\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	log := hclog.New(&hclog.LoggerOptions{Output: logTo{r.t}, Level: hclog.Warn})
	r.Manager, err = New(Options{Log: log, Store: r.store, Drivers: r, Events: r.seen, RunDir: filepath.Join(r.dir, "run"), ResolvConf: resolv})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

type logTo struct{ t *testing.T }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// restart lets the daemon die and start again.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) end() {
	err := errors.Join(r.Keep(context.Background(), func(string) bool { return false }), r.Close(), r.store.Close())
	if err != nil {
		r.t.Errorf("end: %v", err)
	}
}

// id makes a container's id from a letter.
func id(letter string) string { return strings.Repeat(letter, 64) }

func request(letter, mode string, change func(*apicontainer.Config, *apicontainer.HostConfig)) container.NetworkRequest {
	q := container.NetworkRequest{
		ID: id(letter), Name: "/" + letter, Hostname: "host-" + letter, Config: &apicontainer.Config{},
		Host: &apicontainer.HostConfig{NetworkMode: apicontainer.NetworkMode(mode)},
	}
	if change != nil {
		change(q.Config, q.Host)
	}
	return q
}

func publish(t *testing.T, port, host string) func(*apicontainer.Config, *apicontainer.HostConfig) {
	p, err := apinetwork.ParsePort(port)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *apicontainer.Config, h *apicontainer.HostConfig) {
		h.PortBindings = apinetwork.PortMap{p: {{HostPort: host}}}
	}
}

func (r *rig) attach(q container.NetworkRequest) container.NetworkState {
	r.t.Helper()
	s, err := r.Attach(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// inside runs f in a namespace, on a thread that ends with it.
func inside(t *testing.T, path string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd))
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", path, err)
	}
}

// serve answers with a greeting on port 80 inside.
func serve(t *testing.T, path, greeting string) {
	t.Helper()
	var l net.Listener
	inside(t, path, func() (err error) {
		l, err = net.Listen("tcp4", ":80")
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, greeting)
			c.Close()
		}
	}()
}

// call returns what a server answers.
func call(addr string) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func answers(t *testing.T, addr, want string) {
	t.Helper()
	if got, err := call(addr); err != nil || got != want {
		t.Fatalf("%s answers %q, %v; want %q", addr, got, err, want)
	}
}
