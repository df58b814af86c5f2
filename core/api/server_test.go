package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/strakehq/strake/core/api/router"
)

func TestAnswersWithoutABackend(t *testing.T) {
	d := newDaemon(t)
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/_ping", 200, "OK"},
		{"HEAD", "/_ping", 200, ""},
		{"GET", "/v1.24/_ping", 200, "OK"},
		{"GET", "/v1.56/_ping", 200, "OK"},
		{"OPTIONS", "/anything", 200, ""},
		{"GET", "/v1.57/_ping", 400, `{"message":"client version 1.57 is too new. Maximum supported API version is 1.56"}`},
		{"GET", "/v1.99/_ping", 400, `{"message":"client version 1.99 is too new. Maximum supported API version is 1.56"}`},
		{"GET", "/v1.10/_ping", 400, "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"GET", "/v1../_ping", 400, `{"message":"invalid API version \"1..\": want a version from 1.24 to 1.56"}`},
		{"GET", "/vx/_ping", 404, `{"message":"page not found"}`},
		{"GET", "/v1.56/nowhere", 404, `{"message":"page not found"}`},
		{"PATCH", "/v1.56/containers/json", 404, `{"message":"page not found"}`},
		{"GET", "/v1.56", 404, `{"message":"page not found"}`},
		{"GET", "/containers/json?a=%zz", 400, `{"message":"malformed query: invalid URL escape \"%zz\""}`},
		{"GET", `/containers/json?filters={"nope":["x"]}`, 400, `{"message":"invalid filter \"nope\": known filters are ancestor, annotation, before, exited, expose, health, id, is-task, isolation, label, name, network, publish, since, status, volume"}`},
		{"GET", "/containers/json?limit=x", 400, `{"message":"invalid value \"x\" for \"limit\": want a number"}`},
		{"GET", "/containers/web/logs", 400, `{"message":"must specify at least one of 'stdout' or 'stderr'"}`},
		{"GET", "/containers/web/logs?stdout=1&since=x", 400, `{"message":"invalid value \"x\" for \"since\": want seconds since 1970"}`},
		{"POST", "/containers/web/wait?condition=x", 400, `{"message":"invalid condition: \"x\": must be not-running, next-exit or removed"}`},
		{"POST", "/containers/web/resize?h=1", 400, `{"message":"invalid value \"\" for \"w\": want a number from 0 to 65535"}`},
		{"POST", "/containers/create", 400, `{"message":"config cannot be empty in order to create a container"}`},
		{"POST", "/images/create", 400, `{"message":"no image to pull: give one as fromImage"}`},
		{"POST", "/images/create?fromImage=UPPER", 400, `{"message":"\"UPPER\": invalid reference format: repository name (library/UPPER) must be lowercase"}`},
		{"GET", "/images/get", 400, `{"message":"no image to save: give one or more as names"}`},
		{"GET", "/events?since=2&until=1", 400, "{\"message\":\"`since` time (2) cannot be after `until` time (1)\"}"},
		{"GET", "/system/df?type=x", 400, `{"message":"unknown object type: x: must be container, image, volume or build-cache"}`},
		{"GET", "/swarm", 503, `{"message":"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."}`},
		{"GET", "/plugins", 200, "[]"},
		{"GET", "/plugins/a/b/json", 404, `{"message":"plugin \"a/b\" not found"}`},
		{"POST", "/build", 501, `{"message":"build: Strake does not build images: build elsewhere (docker buildx with a container driver, buildah, kaniko) and push or load the image"}`},
		{"GET", "/panic", 500, `{"message":"GET /panic: the daemon hit a bug, see its log"}`},
	} {
		resp, body := d.do(c.method, c.path, "")
		if resp.StatusCode != c.status || body != c.body {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.path, resp.StatusCode, body, c.status, c.body)
		}
	}
	if !strings.Contains(d.log.String(), "panic") || !strings.Contains(d.log.String(), "server_test.go") && !strings.Contains(d.log.String(), "fake_test.go") {
		t.Errorf("the panic is not in the log with its place:\n%s", d.log)
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	d := newDaemon(t)
	for _, path := range []string{"/_ping", "/nowhere", "/v1.99/info"} {
		resp, _ := d.do("GET", path, "")
		for k, want := range map[string]string{"Api-Version": "1.56", "Ostype": "linux", "Server": "Strake/0.1 (linux)", "Docker-Experimental": "false"} {
			if got := resp.Header.Get(k); got != want {
				t.Errorf("%s: %s is %q, want %q", path, k, got, want)
			}
		}
	}
	resp, _ := d.do("HEAD", "/_ping", "")
	for k, want := range map[string]string{"Builder-Version": "1", "Swarm": "inactive", "Content-Length": "0", "Cache-Control": "no-cache, no-store, must-revalidate"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("ping: %s is %q, want %q", k, got, want)
		}
	}
}

func TestDockersClientNegotiatesAVersion(t *testing.T) {
	d := newDaemon(t)
	c, err := client.New(client.WithHost("unix://" + d.socket))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	if err != nil || p.APIVersion != "1.56" || c.ClientVersion() > "1.56" {
		t.Errorf("got %+v, client at %s, %v", p, c.ClientVersion(), err)
	}
}

func TestDockersClientLearnsTheErrorsClass(t *testing.T) {
	d := newDaemon(t)
	c := d.client("1.51")
	for _, want := range []struct {
		err error
		is  func(error) bool
	}{
		{fmt.Errorf("No such container: web: %w", errdefs.ErrNotFound), errdefs.IsNotFound},
		{fmt.Errorf("name: %w", errdefs.ErrConflict), errdefs.IsConflict},
		{fmt.Errorf("x: %w", errdefs.ErrInvalidArgument), errdefs.IsInvalidArgument},
		{errors.New("x"), errdefs.IsInternal},
	} {
		d.containers.start = func(string) error { return want.err }
		if _, err := c.ContainerStart(t.Context(), "web", client.ContainerStartOptions{}); !want.is(err) {
			t.Errorf("%v became %v", want.err, err)
		}
	}
	d.containers.start = func(string) error { return fmt.Errorf("it runs: %w", errdefs.ErrNotModified) }
	if _, err := c.ContainerStart(t.Context(), "web", client.ContainerStartOptions{}); err != nil {
		t.Errorf("start of a running container: %v", err)
	}
}

func TestBodies(t *testing.T) {
	d := newDaemon(t)
	var got container.CreateRequest
	d.containers.create = func(_ string, r container.CreateRequest) (container.CreateResponse, error) {
		got = r
		return container.CreateResponse{ID: "abc"}, nil
	}
	resp, body := d.do("POST", "/v1.51/containers/create?name=web", `{"Image":"nginx","FieldOfTomorrow":1}`)
	if resp.StatusCode != http.StatusCreated || body != `{"Id":"abc","Warnings":[]}` || got.Image != "nginx" || got.HostConfig == nil || got.NetworkingConfig == nil {
		t.Errorf("got %s %s, backend %+v", resp.Status, body, got)
	}
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"Image":`, 400, "invalid JSON: ends in the middle of a value"},
		{`{"Image":1}`, 400, `invalid JSON at byte 10: field \"Config.Image\" must be string, not number`},
		{`{"Image":"a"}{}`, 400, "unexpected content after JSON value at byte"},
		{`{"HostConfig":{}}`, 400, "config cannot be empty"},
		{`{"Image":"` + strings.Repeat("a", 5<<20) + `"}`, 413, "request body is larger than 4194304 bytes: send less"},
	} {
		resp, body := d.do("POST", "/v1.51/containers/create", c.body)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%.30s: got %s %.200s, want %d %s", c.body, resp.Status, body, c.status, c.want)
		}
	}
	if resp, body := d.do("POST", "/v1.51/containers/create", "a=b", "Content-Type", "text/plain"); resp.StatusCode != 400 || !strings.Contains(body, "unsupported Content-Type header (text/plain): must be 'application/json'") {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

func TestOlderClientsRequestsKeepTheirMeaning(t *testing.T) {
	d := newDaemon(t)
	var got container.CreateRequest
	d.containers.create = func(_ string, r container.CreateRequest) (container.CreateResponse, error) {
		got = r
		return container.CreateResponse{ID: "abc"}, nil
	}
	create := func(version, body string) (*http.Response, string) {
		return d.do("POST", "/v"+version+"/containers/create", body)
	}
	if create("1.39", `{"Image":"a"}`); got.HostConfig.IpcMode != container.IPCModeShareable {
		t.Errorf("1.39: IPC mode %q", got.HostConfig.IpcMode)
	}
	if create("1.40", `{"Image":"a"}`); got.HostConfig.IpcMode != "" {
		t.Errorf("1.40: IPC mode %q", got.HostConfig.IpcMode)
	}
	const mac = `{"Image":"a","MacAddress":"02:42:ac:11:00:02","HostConfig":{"NetworkMode":"back"}}`
	if create("1.43", mac); got.NetworkingConfig.EndpointsConfig["back"] == nil || got.NetworkingConfig.EndpointsConfig["back"].MacAddress.String() != "02:42:ac:11:00:02" {
		t.Errorf("1.43: the address did not move to the endpoint: %+v", got.NetworkingConfig)
	}
	if create("1.43", `{"Image":"a","MacAddress":""}`); len(got.NetworkingConfig.EndpointsConfig) != 0 {
		t.Errorf("1.43: no address made an endpoint: %+v", got.NetworkingConfig)
	}
	if resp, _ := create("1.43", strings.Replace(mac, "back", "host", 1)); resp.StatusCode != 400 {
		t.Errorf("1.43: an address in host mode: %s", resp.Status)
	}
	two := `{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"b":{},"a":{}}}}`
	if resp, body := create("1.43", two); resp.StatusCode != 400 || !strings.Contains(body, "multiple network endpoints: a, b") {
		t.Errorf("1.43: two networks: %s %s", resp.Status, body)
	}
	if resp, body := create("1.44", two); resp.StatusCode != 201 {
		t.Errorf("1.44: two networks: %s %s", resp.Status, body)
	}
}

func TestNamesWithSlashesReachTheBackend(t *testing.T) {
	d := newDaemon(t)
	for _, path := range []string{"/images/r.io:5000/a/b:1", "/images/r.io:5000%2Fa%2Fb:1", "/v1.41/images/r.io:5000/a/b:1"} {
		if resp, body := d.do("DELETE", path, ""); resp.StatusCode != 200 || d.images.removed[len(d.images.removed)-1] != "r.io:5000/a/b:1" {
			t.Errorf("%s: %s %s, backend got %v", path, resp.Status, body, d.images.removed)
		}
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	d := newDaemon(t)
	d.do("POST", "/images/create?fromImage=UPPER&x=hunter2", "", "X-Registry-Auth", "hunter2")
	d.do("POST", "/auth", `{"password":"hunter2"`)
	if strings.Contains(d.log.String(), "hunter2") {
		t.Errorf("the log has a secret:\n%s", d.log)
	}
	if !strings.Contains(d.log.String(), "path=/images/create") {
		t.Errorf("requests are not logged:\n%s", d.log)
	}
}

func TestAGoneClientIsNoError(t *testing.T) {
	d := newDaemon(t)
	begun := make(chan struct{})
	d.containers.wait = func(ctx context.Context) (func() (container.WaitResponse, error), error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x/containers/a/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.http().Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The daemon's end waits for the request's: see newDaemon.
}

// A client that never finishes what it begins is cut, whatever it sends meanwhile,
// and is nobody's burden but its own.
func TestClientsThatNeverFinishTheirHeadersAreCut(t *testing.T) {
	routes := []router.Route{router.Get("/_ping", func(_ context.Context, w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
		_, err := io.WriteString(w, "OK")
		return err
	})}
	s := NewHTTPServer(New(Config{Routes: routes, Logger: hclog.NewNullLogger()}), hclog.NewNullLogger())
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > time.Minute || s.IdleTimeout <= 0 || s.IdleTimeout > 10*time.Minute {
		t.Errorf("headers may take %s, the next request %s", s.ReadHeaderTimeout, s.IdleTimeout)
	}
	s.ReadHeaderTimeout, s.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	const whole = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
	var clients sync.WaitGroup
	for name, c := range map[string]struct {
		sent string
		drip byte // sent again and again; 0: nothing
	}{
		"silent":               {},
		"half a line":          {sent: "GET /_pi"},
		"half the headers":     {sent: "GET /_ping HTTP/1.1\r\nHost: x\r\n"},
		"a byte now and then":  {sent: "GET /_ping HTTP/1.1\r\nHost: x\r\nA: ", drip: 'a'},
		"empty lines, slowly":  {drip: '\n'},
		"idle after a request": {sent: whole},
		"slow after a request": {sent: whole + "GET /_ping HTTP/1.1\r\nA: ", drip: 'a'},
	} {
		clients.Go(func() {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			defer conn.Close()
			began := time.Now()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			go func() {
				for c.drip != 0 {
					if _, err := conn.Write([]byte{c.drip}); err != nil {
						return // it is cut
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			if err := conn.SetReadDeadline(began.Add(10 * time.Second)); err != nil {
				t.Error(err)
			}
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 5*time.Second {
				t.Errorf("%s: still there after %s", name, time.Since(began))
			}
			if ok := bytes.Contains(answer, []byte("200 OK")); ok != strings.HasPrefix(c.sent, whole) {
				t.Errorf("%s: answered %q", name, answer)
			}
		})
	}
	clients.Wait()
}

func FuzzSplitVersion(f *testing.F) {
	f.Add("/v1.41/containers/json")
	f.Add("/volumes")
	f.Add("/v1./x")
	f.Fuzz(func(t *testing.T, path string) {
		v, rest := splitVersion(path)
		if v != "" && "/v"+v+rest != path || v == "" && rest != path {
			t.Errorf("%q became %q and %q", path, v, rest)
		}
	})
}
