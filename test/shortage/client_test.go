package shortage

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// raw sends bytes to the daemon and returns what comes back until it closes, or
// until nothing comes for a while.
func raw(t *testing.T, h *testkit.Host, text string) string {
	t.Helper()
	c, err := net.Dial("unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err.Error()
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		return err.Error()
	}
	return string(b)
}

func TestClientsThatAreMalformedOversizedOrManyCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "busybox", "sh", "-c", "echo here; sleep 1000")
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	for what, text := range map[string]string{
		"no HTTP":            "\x16\x03\x01\x00\xff\x00",
		"no request line":    "\r\n\r\n\r\n",
		"two lengths":        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}",
		"headers of 1 MiB":   "GET /_ping HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"body cut short":     "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
		"deep JSON":          post("/containers/create", strings.Repeat("[", 1<<20)),
		"body of 8 MiB":      post("/containers/create", `{"Image":"`+strings.Repeat("x", 8<<20)+`"}`),
		"wrong types":        post("/containers/create", `{"Image":7,"HostConfig":[]}`),
		"volume name":        post("/volumes/create", `{"Name":"../../escape"}`),
		"volume name, slash": post("/volumes/create", `{"Name":"a/b"}`),
		"container name":     post("/containers/create?name=../x", `{"Image":"busybox"}`),
		"log path":           post("/containers/create", `{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"json-file","Config":{"path":"/etc/passwd"}}}}`),
		"relative bind":      post("/containers/create", `{"Image":"busybox","HostConfig":{"Binds":["../../etc:/x"]}}`),
		"bind on the root":   post("/containers/create", `{"Image":"busybox","HostConfig":{"Binds":["/tmp:/"]}}`),
		"path with dots":     "GET /containers/..%2f..%2fetc/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		status, _, _ := strings.Cut(strings.TrimPrefix(raw(t, h, text), "HTTP/1.1 "), " ")
		if strings.HasPrefix(status, "2") || status == "500" {
			t.Errorf("%s: status %s", what, status)
		}
	}
	many := 300
	if long() {
		many = 5000
	}
	var idle []net.Conn
	for i := range many {
		c, err := net.Dial("unix", h.Socket)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		idle = append(idle, c)
		line := ""
		switch i % 3 { // silent, slow, and with streams that nobody reads
		case 1:
			line = "GET /_ping HTTP/1.1\r\nHost:"
		case 2:
			line = "POST /containers/" + id + "/attach?stream=1&stdout=1&logs=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"
		}
		if i >= 300 && i%3 == 2 {
			line = ""
		}
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range reads(id) {
		began := time.Now()
		if status, body := api(t, h, http.MethodGet, path, ""); status != http.StatusOK {
			t.Errorf("beside %d connections: %s: %d %s", many, path, status, body)
		}
		t.Logf("beside %d connections: %v %s", many, time.Since(began), path)
	}
	wantWorks(t, h)
	before := openFiles(t, h.Pid())
	for _, c := range idle {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	h.Eventually(20*time.Second, "the connections are closed", func() bool { return openFiles(t, h.Pid()) < before-many/2 && openFiles(t, h.Pid()) < 100 })
	if list := h.MustDocker("ps", "-aq", "--no-trunc"); list != id {
		t.Errorf("containers: %s", list)
	}
}

// verbs that are done to one container at the same time, and what they may be
// answered.
func verbs() map[string][]int {
	return map[string][]int{
		"start": {204, 304, 409}, "stop?t=0": {204, 304, 409}, "restart?t=0": {204, 304, 409}, "kill": {204, 409},
		"pause": {204, 409}, "unpause": {204, 409},
	}
}

// Whatever verbs meet on one container, each is answered as the table of
// transitions allows, and in the end the record, the process and the kernel
// agree.
func TestConflictingVerbsOnOneContainer(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("create", "busybox", "sleep", "1000")
	each := 15
	if long() {
		each = 200
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var names []string
	for v := range verbs() {
		names = append(names, v)
	}
	var mu sync.Mutex
	count := map[string]int{}
	var clients sync.WaitGroup
	for c := range uint64(4) {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, c))
			for range each {
				v := names[r.IntN(len(names))]
				status, body := api(t, h, http.MethodPost, "/containers/"+id+"/"+v, "")
				if !bytes.Contains(fmt.Append(nil, verbs()[v]), fmt.Append(nil, status)) {
					t.Errorf("%s: %d %s", v, status, body)
				}
				mu.Lock()
				count[fmt.Sprint(v, " ", status)]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	t.Logf("answers: %v", count)
	state := h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id)
	status, pid, _ := strings.Cut(state, " ")
	if alive := status == "running" || status == "paused"; alive != (pid != "0") {
		t.Errorf("state %s", state)
	}
	h.Kill()
	h.Start()
	if after := h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id); after != state {
		t.Errorf("state %s, and with the next daemon %s", state, after)
	}
	if status == "paused" {
		h.MustDocker("unpause", id)
	}
	h.MustDocker("start", id)
	h.MustDocker("exec", id, "true")
	h.MustDocker("rm", "-f", id)
}
