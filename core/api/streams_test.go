package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	framing "github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/api/stdcopy"
	"github.com/strakehq/strake/core/logs"
)

// sockets returns a connected pair.
func sockets(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var c [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		c[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { conn.Close() })
	}
	return c[0], c[1]
}

// greet is a process that says what it was told, on both streams.
func greet(t *testing.T, c *net.UnixConn) {
	in, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	for _, s := range []framing.StdType{framing.Stdout, framing.Stderr} {
		if _, err := (stdcopy.Writer{W: c, Stream: s}).Write(fmt.Appendf(nil, "%d got %s", s, in)); err != nil {
			t.Error(err)
		}
	}
	c.Close()
}

func wantGreeting(t *testing.T, r io.Reader, word string) {
	t.Helper()
	var out, errs bytes.Buffer
	if _, err := framing.StdCopy(&out, &errs, r); err != nil || out.String() != "1 got "+word || errs.String() != "2 got "+word {
		t.Errorf("got %q and %q, %v", &out, &errs, err)
	}
}

func TestAttachWithDockersClient(t *testing.T) {
	d := newDaemon(t)
	process, far := sockets(t)
	d.containers.attach = func(o containers.AttachOptions) (containers.Attached, error) {
		if !o.Stdin || !o.Stdout || !o.Stderr || !o.Stream || o.Logs || o.DetachKeys != "ctrl-a" {
			t.Errorf("options are %+v", o)
		}
		return containers.Attached{Conn: far}, nil
	}
	go greet(t, process)
	a, err := d.client("1.51").ContainerAttach(t.Context(), "web", client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true, DetachKeys: "ctrl-a"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if media, _ := a.MediaType(); media != "application/vnd.docker.multiplexed-stream" {
		t.Errorf("media type is %q", media)
	}
	if _, err := io.WriteString(a.Conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, a.Reader, "hello")
}

func TestAttachThatFailsHasAStatus(t *testing.T) {
	d := newDaemon(t)
	d.containers.attach = func(containers.AttachOptions) (containers.Attached, error) {
		return containers.Attached{}, fmt.Errorf("No such container: web: %w", errdefs.ErrNotFound)
	}
	if resp, body := d.do("POST", "/containers/web/attach?stream=1", ""); resp.StatusCode != 404 || body != `{"message":"No such container: web"}` {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

func TestExecWithDockersClient(t *testing.T) {
	d := newDaemon(t)
	process, far := sockets(t)
	d.containers.exec = func(container.ExecStartRequest) (*containers.Attached, error) {
		return &containers.Attached{Conn: far}, nil
	}
	go greet(t, process)
	a, err := d.client("1.51").ExecAttach(t.Context(), "e1", client.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, a.Reader, "")
}

func TestAnExecThatCannotStartSaysSoInItsOutput(t *testing.T) {
	d := newDaemon(t)
	d.containers.exec = func(r container.ExecStartRequest) (*containers.Attached, error) {
		return nil, fmt.Errorf("exec: \"nope\": executable file not found in $PATH: %w", errdefs.ErrInvalidArgument)
	}
	a, err := d.client("1.51").ExecAttach(t.Context(), "e1", client.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var out bytes.Buffer
	if _, err := framing.StdCopy(&out, io.Discard, a.Reader); err != nil || out.String() != "exec: \"nope\": executable file not found in $PATH\r\n" {
		t.Errorf("got %q, %v", &out, err)
	}
	if resp, _ := d.do("POST", "/exec/e1/start", `{"Detach":true}`); resp.StatusCode != 400 {
		t.Errorf("detached: %s", resp.Status)
	}
}

func entries(e ...logs.Entry) iter.Seq2[logs.Entry, error] {
	return func(yield func(logs.Entry, error) bool) {
		for _, e := range e {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestLogs(t *testing.T) {
	d := newDaemon(t)
	at := time.Date(2024, 1, 2, 3, 4, 5, 600, time.UTC)
	for name, c := range map[string]struct {
		query, want, errs string
		tty               bool
	}{
		"both":            {"stdout=1&stderr=1", "one\n", "two\n", false},
		"one stream":      {"stdout=1", "one\n", "", false},
		"terminal":        {"stdout=1&stderr=1", "one\ntwo\n", "", true},
		"times":           {"stdout=1&timestamps=1", "2024-01-02T03:04:05.000000600Z one\n", "", false},
		"details":         {"stdout=1&details=1", "a=1,b+c=%2F one\n", "", false},
		"times, details":  {"stdout=1&timestamps=1&details=1", "2024-01-02T03:04:05.000000600Z a=1,b+c=%2F one\n", "", false},
		"no details here": {"stderr=1&details=1", "", " two\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			d.containers.logs = func(context.Context, logs.Options) (containers.LogStream, error) {
				return containers.LogStream{TTY: c.tty, Entries: entries(
					logs.Entry{Stream: "stdout", Time: at, Line: []byte("one\n"), Attrs: map[string]string{"b c": "/", "a": "1"}},
					logs.Entry{Stream: "stderr", Time: at, Line: []byte("two\n")},
				)}, nil
			}
			resp, body := d.do("GET", "/v1.51/containers/web/logs?"+c.query, "")
			media := "application/vnd.docker.multiplexed-stream"
			out, errs := bytes.NewBufferString(body+"\n"), new(bytes.Buffer) // do trims
			if c.tty {
				media = "application/vnd.docker.raw-stream"
			} else {
				framed := out
				out = new(bytes.Buffer)
				if _, err := framing.StdCopy(out, errs, framed); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
			}
			if resp.Header.Get("Content-Type") != media || out.String() != c.want || errs.String() != c.errs {
				t.Errorf("got %s %q %q", resp.Header.Get("Content-Type"), out, errs)
			}
		})
	}
}

func TestFollowedLogsArriveAsTheyComeAndEndWithTheClient(t *testing.T) {
	d := newDaemon(t)
	lines, ended := make(chan string), make(chan struct{})
	d.containers.logs = func(ctx context.Context, o logs.Options) (containers.LogStream, error) {
		if !o.Follow || o.Tail != 5 {
			t.Errorf("options are %+v", o)
		}
		return containers.LogStream{TTY: true, Entries: func(yield func(logs.Entry, error) bool) {
			defer close(ended)
			for {
				select {
				case l := <-lines:
					if !yield(logs.Entry{Stream: "stdout", Line: []byte(l)}, nil) {
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}}, nil
	}
	out, err := d.client("1.51").ContainerLogs(t.Context(), "web", client.ContainerLogsOptions{ShowStdout: true, Follow: true, Tail: "5"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"a\n", "b\n"} {
		lines <- l
		got := make([]byte, len(l))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != l {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	out.Close()
	<-ended
}

func TestALogThatCannotBeReadOnSaysSo(t *testing.T) {
	d := newDaemon(t)
	d.containers.logs = func(context.Context, logs.Options) (containers.LogStream, error) {
		return containers.LogStream{Entries: func(yield func(logs.Entry, error) bool) {
			yield(logs.Entry{}, errors.New("disk on fire"))
		}}, nil
	}
	_, body := d.do("GET", "/containers/web/logs?stdout=1", "")
	if _, err := framing.StdCopy(io.Discard, io.Discard, strings.NewReader(body+"\n")); err == nil || !strings.Contains(err.Error(), "Error grabbing logs: disk on fire") {
		t.Errorf("got %v", err)
	}
}

func TestWaitTellsThatItIsInPlace(t *testing.T) {
	d := newDaemon(t)
	exit := make(chan int64)
	d.containers.wait = func(context.Context) (func() (container.WaitResponse, error), error) {
		return func() (container.WaitResponse, error) { return container.WaitResponse{StatusCode: <-exit}, nil }, nil
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/containers/web/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.http().Do(r) // returns with the header
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	exit <- 7
	var got container.WaitResponse
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.StatusCode != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStats(t *testing.T) {
	d := newDaemon(t)
	d.containers.stats = func(_ context.Context, once bool) (iter.Seq2[container.StatsResponse, error], error) {
		return func(yield func(container.StatsResponse, error) bool) {
			for i := range 3 {
				if !yield(container.StatsResponse{ID: fmt.Sprint(i)}, nil) || once {
					return
				}
			}
		}, nil
	}
	for query, want := range map[string]int{"": 3, "?stream=1": 3, "?stream=0": 1, "?stream=false&one-shot=1": 1} {
		if _, body := d.do("GET", "/containers/web/stats"+query, ""); strings.Count(body, `"id"`) != want {
			t.Errorf("%q: %s", query, body)
		}
	}
}

func TestPull(t *testing.T) {
	d := newDaemon(t)
	d.images.pull = func(_ context.Context, o images.PullOptions, p images.Progress) error {
		if o.Image != "docker.io/library/nginx" || o.Tag != "1" || o.All || o.Auth.Username != "u" {
			t.Errorf("options are %+v", o)
		}
		p(jsonstream.Message{Status: "Pulling", ID: "1"})
		return nil
	}
	r, err := d.client("1.51").ImagePull(t.Context(), "nginx:1", client.ImagePullOptions{RegistryAuth: "eyJ1c2VybmFtZSI6InUifQ=="})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		begun  bool
		status int
		body   string
	}{
		"before the first message": {false, 404, `{"message":"manifest for x:1 not found"}`},
		"after it":                 {true, 200, "{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"message\":\"manifest for x:1 not found\"},\"error\":\"manifest for x:1 not found\"}"},
	} {
		t.Run("an error "+name, func(t *testing.T) {
			d.images.pull = func(_ context.Context, _ images.PullOptions, p images.Progress) error {
				if c.begun {
					p(jsonstream.Message{Status: "Pulling"})
				}
				return fmt.Errorf("manifest for x:1 not found: %w", errdefs.ErrNotFound)
			}
			if resp, body := d.do("POST", "/images/create?fromImage=x&tag=1", ""); resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %s %s", resp.Status, body)
			}
		})
	}
	if resp, body := d.do("POST", "/images/create?fromImage=x&tag=1", "", "X-Registry-Auth", "%%%"); resp.StatusCode != 400 || !strings.Contains(body, "invalid X-Registry-Auth header") {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

func TestWhatIsPulled(t *testing.T) {
	d := newDaemon(t)
	var got images.PullOptions
	d.images.pull = func(_ context.Context, o images.PullOptions, _ images.Progress) error { got = o; return nil }
	for query, want := range map[string]images.PullOptions{
		"fromImage=a":                         {Image: "a", All: true},
		"fromImage=a:":                        {Image: "a", All: true},
		"fromImage=a&tag=1":                   {Image: "a", Tag: "1"},
		"fromImage=a:2":                       {Image: "a:2"},
		"fromImage=a&tag=1&platform=linux/s3": {Image: "a", Tag: "1", Platform: "linux/s3"},
	} {
		if d.do("POST", "/images/create?"+query, ""); got != want {
			t.Errorf("%s: got %+v, want %+v", query, got, want)
		}
	}
}

func TestLoadAndSave(t *testing.T) {
	d := newDaemon(t)
	d.images.load = func(tar io.Reader, p images.Progress) error {
		b, err := io.ReadAll(tar)
		p(jsonstream.Message{ID: "1", Progress: &jsonstream.Progress{Current: 1}})
		p(jsonstream.Message{Stream: fmt.Sprintf("Loaded %d bytes\n", len(b))})
		return err
	}
	for query, want := range map[string]string{
		"":         `{"stream":"Loaded 9 bytes\n"}`,
		"?quiet=0": "{\"progressDetail\":{\"current\":1},\"id\":\"1\"}\r\n{\"stream\":\"Loaded 9 bytes\\n\"}",
	} {
		if resp, body := d.do("POST", "/images/load"+query, "a tarball", "Content-Type", "application/x-tar"); resp.StatusCode != 200 || body != want {
			t.Errorf("%q: %s %s", query, resp.Status, body)
		}
	}
	d.images.save = func(refs []string, w io.Writer) error {
		_, err := fmt.Fprintf(w, "tar of %s", refs)
		return err
	}
	for _, path := range []string{"/images/get?names=a&names=b/c", "/images/b/c/get"} {
		if resp, body := d.do("GET", path, ""); !strings.HasSuffix(body, "b/c]") || resp.Header.Get("Content-Type") != "application/x-tar" {
			t.Errorf("%s: %s %v", path, body, resp.Header)
		}
	}
	d.images.save = func(_ []string, w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, errors.New("disk on fire"))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/images/a/get", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := d.http().Do(r); err == nil {
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("an archive cut short looks whole: %q", b)
		}
	}
}

func TestEvents(t *testing.T) {
	d := newDaemon(t)
	d.system.past = []events.Message{
		{Type: "container", Action: "start", Actor: events.Actor{ID: "c1", Attributes: map[string]string{"image": "nginx"}}},
		{Type: "network", Action: "connect", Actor: events.Actor{ID: "n1"}},
	}
	for _, c := range []struct{ version, accept, mediaType, first string }{
		{"1.56", "", "application/jsonl", `{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"nginx"}}}`},
		{"1.56", "application/json-seq", "application/json-seq", "\x1e" + `{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"nginx"}}}`},
		{"1.51", "", "application/json", `{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"nginx"}},"status":"start","id":"c1","from":"nginx"}`},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/v"+c.version+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", c.accept)
		resp, err := d.http().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.first))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != c.first || resp.Header.Get("Content-Type") != c.mediaType {
			t.Errorf("%s: got %s %s, %v", c.version, resp.Header.Get("Content-Type"), got, err)
		}
		cancel()
		resp.Body.Close()
	}
	res := d.client("1.52").Events(t.Context(), client.EventsListOptions{})
	if m := <-res.Messages; m.Actor.ID != "c1" {
		t.Errorf("got %+v", m)
	}
}
