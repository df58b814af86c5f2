package integration

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// An exec that is being started while its container is removed must not leave, or
// bring back, a part of what is removed.
func TestExecsBesideARemovalLeaveNothing(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	for i := range 40 {
		id := h.MustDocker("run", "-d", "busybox", "sleep", "1000")
		ctx, stop := context.WithCancel(t.Context())
		var execs sync.WaitGroup
		for range 4 {
			execs.Go(func() {
				for ctx.Err() == nil && execDetached(ctx, h, id) {
				}
			})
		}
		time.Sleep(time.Duration(30+i%40) * time.Millisecond)
		h.MustDocker("rm", "-f", id)
		stop()
		execs.Wait()
	}
	if strings.Contains(h.Log(), "delete process") {
		t.Error("a removal failed")
	}
	if left, err := os.ReadDir(filepath.Join(h.RunDir, "drivers", "runtime-runc", "c")); err != nil || len(left) > 0 {
		t.Errorf("the driver has kept %v, %v", left, err)
	}
}

// execDetached starts an exec; false: the container is gone.
func execDetached(ctx context.Context, h *testkit.Host, id string) bool {
	post := func(path, body string) (string, bool) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://strake"+path, strings.NewReader(body))
		if err != nil {
			return "", false
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.API().Do(req)
		if err != nil {
			return "", false
		}
		defer resp.Body.Close()
		var b [200]byte
		n, _ := resp.Body.Read(b[:])
		return string(b[:n]), resp.StatusCode < http.StatusBadRequest
	}
	made, ok := post("/containers/"+id+"/exec", `{"Cmd": ["true"]}`)
	if !ok {
		return false
	}
	_, rest, _ := strings.Cut(made, `"Id":"`)
	exec, _, _ := strings.Cut(rest, `"`)
	_, ok = post("/exec/"+exec+"/start", `{"Detach": true}`)
	return ok
}
