package shortage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// hijacked asks for a stream and returns its connection, of which nothing but the
// head of the answer was read.
func hijacked(t *testing.T, h *testkit.Host, path, body string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: h.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	r := bufio.NewReaderSize(c, 16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 101") {
			t.Fatalf("%s: %s", path, line)
		}
		if line == "\r\n" {
			return c
		}
	}
}

// goroutines are those of the daemon.
func goroutines(t *testing.T, h *testkit.Host) int {
	t.Helper()
	var info struct{ NGoroutines int }
	status, body := api(t, h, http.MethodGet, "/info", "")
	if err := json.Unmarshal([]byte(body), &info); err != nil || status != http.StatusOK {
		t.Fatalf("info: %d %v", status, err)
	}
	return info.NGoroutines
}

// memory is what a process has to itself, in KiB.
func memory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return statusField(t, string(b), "RssAnon:")
}

func statusField(t *testing.T, status, name string) int {
	t.Helper()
	_, after, _ := strings.Cut(status, name)
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// endless prints numbered lines of a kilobyte without an end.
const endless = `x=$(printf %01000d 0); i=0; while :; do i=$((i+1)); echo $i $x; done`

// Clients attach to a container and to execs that print without an end, read
// nothing, and leave in all the ways there are. While they are there the processes
// wait, as they do with Docker; that costs the daemon a bounded amount, and no
// other client anything. When they have left, nothing of them is.
func TestStreamsThatAreAbandoned(t *testing.T) {
	t.Parallel()
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	id := h.MustDocker("run", "-d", "-i", "--log-opt", "max-size=1m", "--log-opt", "max-file=2", "busybox", "sh", "-c", endless)
	pid, err := strconv.Atoi(h.MustDocker("inspect", "-f", "{{.State.Pid}}", id))
	if err != nil {
		t.Fatal(err)
	}
	printed := func() int {
		n, _ := strconv.Atoi(strings.Split(h.MustDocker("logs", "--tail", "1", id)+" ", " ")[0])
		return n
	}
	goesOn := func(when string) {
		t.Helper()
		was := printed()
		h.Eventually(20*time.Second, "the container goes on "+when, func() bool { return printed() > was+100 })
	}
	goesOn("at first")
	h.MustDocker("exec", id, "true")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	shim := statusField(t, string(status), "PPid:")
	files, threads, mem, shimMem := openFiles(t, h.Pid()), goroutines(t, h), memory(t, h.Pid()), memory(t, shim)

	each := 10
	if long() {
		each = 100
	}
	const attach = "/attach?stream=1&stdout=1&stderr=1&stdin=1"
	var all []*net.UnixConn
	for range each {
		silent := hijacked(t, h, "/containers/"+id+attach, "")
		half := hijacked(t, h, "/containers/"+id+attach, "")
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		some := hijacked(t, h, "/containers/"+id+attach+"&logs=1", "")
		if _, err := io.CopyN(io.Discard, some, 10); err != nil {
			t.Fatal(err)
		}
		all = append(all, silent, half, some)
	}
	for range each {
		status, body := api(t, h, http.MethodPost, "/containers/"+id+"/exec", `{"AttachStdout":true,"AttachStdin":true,"Cmd":["yes","`+strings.Repeat("y", 1000)+`"]}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated {
			t.Fatalf("exec: %d %s", status, body)
		}
		all = append(all, hijacked(t, h, "/exec/"+made.ID+"/start", `{}`))
	}
	var stuck int
	h.Eventually(20*time.Second, "the container waits for who does not read", func() bool {
		was := stuck
		stuck = printed()
		time.Sleep(200 * time.Millisecond)
		return stuck == was
	})
	for _, path := range reads(id) {
		began := time.Now()
		if status, body := api(t, h, http.MethodGet, path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s: took %s", path, d)
		}
	}
	grown, shimGrown := memory(t, h.Pid())-mem, memory(t, shim)-shimMem
	t.Logf("%d streams that nobody reads: %d KiB more in the daemon, %d in the shim, %d descriptors, %d goroutines", len(all), grown, shimGrown, openFiles(t, h.Pid())-files, goroutines(t, h)-threads)
	if grown > 16<<10+len(all)*200 {
		t.Errorf("%d streams that nobody reads cost the daemon %d KiB", len(all), grown)
	}
	if shimGrown > 4<<10+len(all)*600 {
		t.Errorf("%d streams that nobody reads cost the shim %d KiB", len(all), shimGrown)
	}
	for i, c := range all {
		if i%2 == 1 {
			if err := c.CloseWrite(); err != nil && !strings.Contains(err.Error(), "not connected") {
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	goesOn("when they have left")
	h.Eventually(20*time.Second, "what they had is given back", func() bool {
		return openFiles(t, h.Pid()) <= files+3 && goroutines(t, h) <= threads+3
	})
	h.MustDocker("exec", id, "true")
	if got := h.MustDocker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id); got != fmt.Sprint("running ", pid) {
		t.Errorf("the container: %s", got)
	}
	h.MustDocker("rm", "-f", id)
}
