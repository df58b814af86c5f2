package soak

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

func amount(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// post makes a request of the API, whose answer is decoded into v unless that is
// nil.
func post(t *testing.T, h *testkit.Host, method, path, body string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://strake"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.API().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		var why struct{ Message string }
		if err := json.NewDecoder(resp.Body).Decode(&why); err != nil {
			why.Message = err.Error()
		}
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, why.Message)
	}
	if v != nil {
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			t.Fatal(err)
		}
	}
}

// cycle takes one container through its life: with a health check, somebody who
// attaches and leaves without a word, an exec that is read to its end, one that
// cannot be started, and one that nobody waits for.
func cycle(t *testing.T, h *testkit.Host) {
	t.Helper()
	var made struct{ ID string }
	post(t, h, "POST", "/containers/create", `{"Image": "busybox", "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while true; do echo up; sleep 0.05; done"],
		"Healthcheck": {"Test": ["CMD", "true"], "Interval": 20000000},
		"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PublishAllPorts": true, "Tmpfs": {"/t": ""}}, "Volumes": {"/v": {}}}`, &made)
	abandoned := hijack(t, h, "/containers/"+made.ID+"/attach?stream=1&stdin=1&stdout=1&stderr=1", "")
	post(t, h, "POST", "/containers/"+made.ID+"/start", "", nil)
	exec := func(config string) string {
		var exec struct{ ID string }
		post(t, h, "POST", "/containers/"+made.ID+"/exec", config, &exec)
		return "/exec/" + exec.ID + "/start"
	}
	post(t, h, "POST", exec(`{"Cmd": ["true"], "AttachStdout": true}`), `{"Detach": true}`, nil)
	for cmd, want := range map[string]string{`"echo", "heard"`: "heard", `"/no/such/program"`: "no such file"} {
		stream := hijack(t, h, exec(`{"Cmd": [`+cmd+`], "Tty": true, "AttachStdout": true, "AttachStderr": true}`), `{"Tty": true}`)
		var heard []byte
		for part := make([]byte, 4096); !strings.Contains(string(heard), want); {
			n, err := stream.Read(part)
			if heard = append(heard, part[:n]...); err != nil {
				t.Fatalf("exec %s: %q, %v", cmd, heard, err)
			}
		}
		stream.Close()
	}
	abandoned.Close()
	post(t, h, "POST", "/containers/"+made.ID+"/stop?t=2", "", nil)
	post(t, h, "DELETE", "/containers/"+made.ID+"?v=1", "", nil)
}

// hijack takes a connection over and returns it behind the head of the answer.
func hijack(t *testing.T, h *testkit.Host, path, body string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: strake\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, len(body), body)
	return c
}

// settle waits until a figure no longer falls: links and snapshots are deleted
// in the background.
func settle(t *testing.T, h *testkit.Host) Figures {
	t.Helper()
	var last Figures
	h.Eventually(2*time.Minute, "the host is at rest", func() bool {
		time.Sleep(time.Second)
		now, err := Take(h)
		if err != nil {
			t.Fatal(err)
		}
		rest := last != nil
		for _, n := range []string{"links", "cgroups", "mounts", "disk KiB", "straked goroutines", "strake-shim processes"} {
			rest = rest && now[n] >= last[n]
		}
		last = now
		return rest
	})
	return last
}

func TestNothingGrowsOverManyCycles(t *testing.T) {
	cycles, beside := amount(t, "STRAKE_SOAK_CYCLES", 30), amount(t, "STRAKE_SOAK_BESIDE", 3)
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	for i := range beside {
		var made struct{ ID string }
		post(t, h, "POST", "/containers/create?name=beside"+strconv.Itoa(i), `{"Image": "busybox", "Cmd": ["sleep", "1000000"]}`, &made)
		post(t, h, "POST", "/containers/"+made.ID+"/start", "", nil)
	}
	done := 0
	run := func(n int) {
		for range n {
			cycle(t, h)
			if done++; done%20 == 0 {
				h.MustDocker("pull", "-q", "nginx")
				h.MustDocker("rmi", "nginx")
			}
		}
	}
	run(max(20, cycles/5)) // caches and pools fill
	moments := []Figures{settle(t, h)}
	const parts = 8 // of the curve
	began := time.Now()
	for i := range parts {
		run(cycles*(i+1)/parts - cycles*i/parts)
		if i < parts-1 {
			now, err := Take(h)
			if err != nil {
				t.Fatal(err)
			}
			moments = append(moments, now)
		}
	}
	took := time.Since(began)
	first, last := moments[0], settle(t, h)
	t.Logf("%d cycles beside %d containers in %v, %v each\n%s", cycles, beside,
		took.Round(time.Second), (took / time.Duration(cycles)).Round(time.Millisecond), Table(append(moments, last)...))
	moments = append(moments, last)
	for name := range merged(moments) {
		if grown := last[name] - first[name]; grown > allowed(name, first[name]) {
			t.Errorf("%s grew from %d to %d", name, first[name], last[name])
		}
		if cycles >= 500 && steady(name) {
			early, late := bounds(moments[1:parts/2+1], name), bounds(moments[parts/2+1:], name)
			if late.low > early.high+max(early.high/20, 256) {
				t.Errorf("%s grows all the time: at most %d in the first half, at least %d in the second", name, early.high, late.low)
			}
		}
	}
}

// steady says that a figure has no reason to be larger in the whole second half
// than it ever was in the first.
func steady(name string) bool {
	return strings.HasSuffix(name, "anonymous KiB") || strings.HasSuffix(name, "live heap KiB")
}

type span struct{ low, high int }

// bounds are a figure's smallest and largest value.
func bounds(moments []Figures, name string) span {
	s := span{moments[0][name], moments[0][name]}
	for _, m := range moments {
		s.low, s.high = min(s.low, m[name]), max(s.high, m[name])
	}
	return s
}

// allowed is how much a figure may differ that depends on the moment: the
// garbage collector's, idle threads, connections that are kept.
func allowed(name string, was int) int {
	switch {
	case strings.HasSuffix(name, "anonymous KiB"):
		return max(was/3, 6<<10)
	case strings.HasSuffix(name, "live heap KiB"):
		return max(was/3, 1<<10)
	case name == "disk KiB":
		return max(was/10, 2<<10)
	case strings.HasSuffix(name, "threads"), strings.HasSuffix(name, "descriptors"), strings.HasSuffix(name, "goroutines"):
		return max(was/10, 6)
	}
	return 0
}
