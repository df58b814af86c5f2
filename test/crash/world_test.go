package crash

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/test/testkit"
)

// world is a host with a daemon under load. Some containers, the residents, live
// as long as it does.
type world struct {
	t      *testing.T
	h      *testkit.Host
	api    client
	faults string // the directory of package mishap
	images []string
	turn   atomic.Int64 // of images
	clean  snapshot     // how it looks with the residents alone

	follower *follower
	excused  bool // in this round an exit status may be unknown
	restarts int  // of the resident "again", so far
}

// shared are the registry's images for stories. Each has a layer of its own over
// one that all have.
const shared = 3

func newWorld(t *testing.T, opts ...testkit.Option) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "faults")
	w := &world{t: t, faults: dir}
	for _, d := range []string{"seen", "fired"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The hierarchy that tests of crun mount and unmount stays: what is made in
	// it could neither be seen nor removed meanwhile.
	w.h = testkit.New(t, append([]testkit.Option{testkit.WithEnv("STRAKE_FAULTS=" + dir), testkit.WithCrun()}, opts...)...)
	w.api = client{w.h.Socket}
	w.pushImages()
	w.h.Start()
	w.settleIn()
	return w
}

func (w *world) pushImages() {
	w.t.Helper()
	tr := w.h.HTTP().Transport
	base := layer(w.t, "etc/common", "shared by all")
	for i := range shared {
		img := mutate.MediaType(emptyImage(w.t), types.OCIManifestSchema1)
		for _, l := range []v1.Layer{base, layer(w.t, "etc/own", fmt.Sprint("own ", i)), layer(w.t, "etc/last", fmt.Sprint("last ", i))} {
			var err error
			if img, err = mutate.AppendLayers(img, l); err != nil {
				w.t.Fatal(err)
			}
		}
		repo := fmt.Sprintf("crash/image-%d", i)
		ref, err := name.ParseReference(w.h.Registry+"/"+repo+":latest", name.Insecure)
		if err == nil {
			err = remote.Write(ref, img, remote.WithTransport(tr))
		}
		if err != nil {
			w.t.Fatalf("push %s: %v", repo, err)
		}
		w.images = append(w.images, repo)
	}
}

// ballast counts the files of a layer besides the first, and repeats how often
// each has its text.
const ballast, repeats = 20, 500

// layer holds a file and some ballast, so that it takes more than one chunk.
func layer(t *testing.T, path, text string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	files := map[string]string{path: text}
	for i := range ballast {
		files[fmt.Sprintf("%s.d/%d", path, i)] = strings.Repeat(text+fmt.Sprint(i), repeats)
	}
	for _, n := range slices.Sorted(maps.Keys(files)) {
		content := files[n]
		if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// residents are the containers that live as long as the world does, by name:
// what creates them.
func residents() map[string]object {
	run := func(script string, host object) object {
		return object{
			"Image": "busybox", "Cmd": []string{"sh", "-c", script}, "HostConfig": host, "StopSignal": "SIGKILL",
			"ExposedPorts": object{"80/tcp": object{}},
		}
	}
	return map[string]object{
		"count": run("i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done", nil),
		"spew": run("i=0; while true; do n=$((i+60)); while [ $i -lt $n ]; do i=$((i+1)); echo line $i; done; sleep 0.1; done",
			object{"LogConfig": object{"Type": "json-file", "Config": object{"max-size": "32k", "max-file": "3"}}}),
		"web": run("echo resident >/tmp/index.html; exec httpd -f -p 80 -h /tmp",
			object{"PortBindings": object{"80/tcp": []object{{"HostIp": "127.0.0.1", "HostPort": "8080"}}}}),
		"again":   run("sleep 1; exit 3", object{"RestartPolicy": object{"Name": "always"}}),
		"stopped": run("exec sleep 100000", object{"RestartPolicy": object{"Name": "unless-stopped"}}),
		"exited":  run("echo line 1; exit 11", nil),
	}
}

// settleIn pulls the image and starts the residents.
func (w *world) settleIn() {
	w.t.Helper()
	w.must(w.api.pull("busybox"))
	for n, body := range residents() {
		w.must(w.api.post("/containers/create?name="+n, body))
		w.must(w.api.post("/containers/"+n+"/start", nil))
	}
	w.must(w.api.post("/containers/stopped/stop?t=0", nil))
	w.must(w.api.post("/containers/exited/wait", nil))
	w.follower = follow(w)
	w.clean = w.await(15*time.Second, "the residents have settled in", nil)
}

func (w *world) must(a answer) {
	w.t.Helper()
	if !a.ok() {
		w.t.Fatal(a)
	}
}

// status is a container's, "absent" or "unknown".
func (w *world) status(name string) string {
	a := w.api.get("/containers/" + name + "/json")
	var c struct{ State struct{ Status string } }
	switch {
	case a.status == http.StatusNotFound && a.broken == nil:
		return "absent"
	case a.into(&c) != nil:
		return "unknown"
	}
	return c.State.Status
}

// exists asks for an object that is no container.
func (w *world) exists(path string) string { return presence(w.api.get(path)) }

func presence(a answer) string {
	switch {
	case a.ok():
		return "there"
	case a.status == http.StatusNotFound && a.broken == nil:
		return "absent"
	}
	return "unknown"
}

// soon waits for what may not come: the checks say what must.
func (w *world) soon(cond func() bool) {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && !cond(); {
		time.Sleep(50 * time.Millisecond)
	}
}

// follower reads a log for as long as it lasts.
type follower struct {
	next  int // number of the next line; 0: not known yet
	err   error
	lines int
	done  chan struct{}
}

// follow follows the log of "count" from now on.
func follow(w *world) *follower {
	f := &follower{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		resp, err := w.api.http().Get("http://strake/containers/count/logs?stdout=1&follow=1&tail=1")
		if err != nil {
			return // the daemon is gone already
		}
		defer resp.Body.Close()
		for {
			var h [8]byte
			if _, err := io.ReadFull(resp.Body, h[:]); err != nil {
				return
			}
			b := make([]byte, int(h[4])<<24|int(h[5])<<16|int(h[6])<<8|int(h[7]))
			if _, err := io.ReadFull(resp.Body, b); err != nil {
				return
			}
			var n int
			if _, err := fmt.Sscanf(string(b), "line %d\n", &n); err != nil || f.next != 0 && n != f.next {
				f.err = fmt.Errorf("follower got %q, want line %d", b, f.next)
				return
			}
			f.next = n + 1
			f.lines++
		}
	}()
	return f
}

// ended says whether the follower's stream has ended.
func (f *follower) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// drivers are the pids of the ready drivers by kind.
func (w *world) drivers() map[string]int {
	var list []struct {
		Kind, Status string
		Pid          int
	}
	pids := map[string]int{}
	if a := w.api.get("/strake/v1/drivers"); a.into(&list) != nil {
		return pids
	}
	for _, d := range list {
		if d.Status == "ready" && testkit.Alive(d.Pid) {
			pids[d.Kind] = d.Pid
		}
	}
	return pids
}

// count adds the points that were come to.
func (w *world) count(r *report) {
	for p := range listed(filepath.Join(w.faults, "seen")) {
		r.seen[mishap.Point(p)] = true
	}
}

// list are the ids of the daemon's containers by name.
func (w *world) list() (map[string]string, error) {
	var list []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := w.api.get("/containers/json?all=1").into(&list); err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, c := range list {
		ids[strings.TrimPrefix(strings.Join(c.Names, ","), "/")] = c.ID
	}
	return ids, nil
}

// dial waits until somebody listens on the daemon's socket.
func (w *world) dial() bool {
	c, err := net.Dial("unix", w.h.Socket)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
