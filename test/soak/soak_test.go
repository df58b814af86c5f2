package soak

import (
	"encoding/json"
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

// cycle creates, starts, execs in, stops and removes one container.
func cycle(t *testing.T, h *testkit.Host) {
	t.Helper()
	var made struct{ ID string }
	post(t, h, "POST", "/containers/create", `{"Image": "busybox", "Cmd": ["sh", "-c", "trap 'exit 0' TERM; echo up; while true; do sleep 0.05; done"],
		"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PublishAllPorts": true, "Tmpfs": {"/t": ""}}, "Volumes": {"/v": {}}}`, &made)
	post(t, h, "POST", "/containers/"+made.ID+"/start", "", nil)
	var exec struct{ ID string }
	post(t, h, "POST", "/containers/"+made.ID+"/exec", `{"Cmd": ["true"], "AttachStdout": true}`, &exec)
	post(t, h, "POST", "/exec/"+exec.ID+"/start", `{"Detach": true}`, nil)
	post(t, h, "POST", "/containers/"+made.ID+"/stop?t=2", "", nil)
	post(t, h, "DELETE", "/containers/"+made.ID+"?v=1", "", nil)
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
	run(max(20, cycles/10)) // caches and pools fill
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
	for name, was := range first {
		if grown := last[name] - was; grown > allowed(name, was) {
			t.Errorf("%s grew from %d to %d", name, was, last[name])
		}
	}
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
