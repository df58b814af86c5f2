package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	apisystem "github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/api/router"
	"github.com/strakehq/strake/core/api/system"
	"github.com/strakehq/strake/core/api/volumes"
	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/core/logs"
)

// fake is a daemon in memory: a test sets the functions that it is about. A
// call of one that is not set is a nil dereference, which the server turns
// into status 500.
type fake struct {
	containers.Backend
	start   func(ref string) error
	create  func(name string, r container.CreateRequest) (container.CreateResponse, error)
	list    func(o containers.ListOptions) ([]container.Summary, error)
	inspect func(ref string) (container.InspectResponse, error)
	logs    func(ctx context.Context, o logs.Options) (containers.LogStream, error)
	wait    func(ctx context.Context) (func() (container.WaitResponse, error), error)
	stats   func(ctx context.Context, once bool) (iter.Seq2[container.StatsResponse, error], error)
	attach  func(o containers.AttachOptions) (containers.Attached, error)
	exec    func(r container.ExecStartRequest) (*containers.Attached, error)
}

func (f *fake) Start(_ context.Context, ref string) error { return f.start(ref) }

func (f *fake) Create(_ context.Context, name, _ string, r container.CreateRequest) (container.CreateResponse, error) {
	return f.create(name, r)
}

func (f *fake) List(_ context.Context, o containers.ListOptions) ([]container.Summary, error) {
	return f.list(o)
}

func (f *fake) Inspect(_ context.Context, ref string, _ bool) (container.InspectResponse, error) {
	return f.inspect(ref)
}

func (f *fake) Logs(ctx context.Context, _ string, o logs.Options) (containers.LogStream, error) {
	return f.logs(ctx, o)
}

func (f *fake) Wait(ctx context.Context, _ string, _ container.WaitCondition) (func() (container.WaitResponse, error), error) {
	return f.wait(ctx)
}

func (f *fake) Stats(ctx context.Context, _ string, once, _ bool) (iter.Seq2[container.StatsResponse, error], error) {
	return f.stats(ctx, once)
}

func (f *fake) Attach(_ context.Context, _ string, o containers.AttachOptions) (containers.Attached, error) {
	return f.attach(o)
}

func (f *fake) ExecStart(_ context.Context, _ string, r container.ExecStartRequest) (*containers.Attached, error) {
	return f.exec(r)
}

func (f *fake) ExecInspect(_ context.Context, id string) (container.ExecInspectResponse, error) {
	return container.ExecInspectResponse{ID: id, ProcessConfig: &container.ExecProcessConfig{}}, nil
}

type fakeImages struct {
	images.Backend
	pull    func(ctx context.Context, o images.PullOptions, p images.Progress) error
	load    func(tar io.Reader, p images.Progress) error
	save    func(refs []string, w io.Writer) error
	list    []image.Summary
	removed []string
}

func (f *fakeImages) Pull(ctx context.Context, o images.PullOptions, p images.Progress) error {
	return f.pull(ctx, o, p)
}

func (f *fakeImages) Load(_ context.Context, tar io.Reader, _ []string, p images.Progress) error {
	return f.load(tar, p)
}

func (f *fakeImages) Save(_ context.Context, refs []string, w io.Writer) error {
	return f.save(refs, w)
}

func (f *fakeImages) List(context.Context, images.ListOptions) ([]image.Summary, error) {
	return slices.Clone(f.list), nil
}

func (f *fakeImages) Remove(_ context.Context, ref string, _ images.RemoveOptions) ([]image.DeleteResponse, error) {
	f.removed = append(f.removed, ref)
	return []image.DeleteResponse{{Untagged: ref}}, nil
}

type fakeSystem struct {
	system.Backend
	usage apisystem.DiskUsage
	past  []events.Message
}

func (f *fakeSystem) DiskUsage(context.Context) (apisystem.DiskUsage, error) { return f.usage, nil }

// Subscribe yields the past and then waits for the client to go.
func (f *fakeSystem) Subscribe(ctx context.Context, _, _ time.Time, _ filter.Args) (iter.Seq2[events.Message, error], error) {
	return func(yield func(events.Message, error) bool) {
		for _, m := range f.past {
			if !yield(m, nil) {
				return
			}
		}
		<-ctx.Done()
		yield(events.Message{}, ctx.Err())
	}, nil
}

// daemon serves fakes on a unix socket.
type daemon struct {
	containers fake
	images     fakeImages
	system     fakeSystem

	t      *testing.T
	socket string
	log    *logBuffer
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{t: t, socket: filepath.Join(t.TempDir(), "s"), log: &logBuffer{}}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: d.log})
	h := New(Config{
		Routes: slices.Concat(
			containers.Routes(&d.containers, log), images.Routes(&d.images),
			volumes.Routes(nil), system.Routes(&d.system, &d.system),
			[]router.Route{router.Get("/panic", func(context.Context, http.ResponseWriter, *http.Request, map[string]string) error { panic("oh") })},
		),
		Version: "0.1", Logger: log,
	})
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: NewHTTPServer(h, log)}
	srv.Start()
	t.Cleanup(srv.Close) // waits for all requests: one that hangs is a failure
	return d
}

// client returns Docker's own client at a version of the API.
func (d *daemon) client(version string) *client.Client {
	d.t.Helper()
	c, err := client.New(client.WithHost("unix://"+d.socket), client.WithAPIVersion(version))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

func (d *daemon) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		},
	}}
}

// do sends a request as it is.
func (d *daemon) do(method, path, body string, head ...string) (*http.Response, string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	resp, err := d.http().Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp, strings.TrimSpace(string(b))
}

// get decodes the answer to a GET.
func (d *daemon) get(path string, v any) {
	d.t.Helper()
	resp, body := d.do(http.MethodGet, path, "")
	if err := json.Unmarshal([]byte(body), v); err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatalf("GET %s: %s %s: %v", path, resp.Status, body, err)
	}
}
