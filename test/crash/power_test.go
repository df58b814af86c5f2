package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// disk is a file system on a loop device. What its backing file holds is what
// the "disk" was given; what waits in the page cache or in an uncommitted journal
// transaction is not in it.
type disk struct {
	t          *testing.T
	file, loop string
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// mount mounts a file at dir until the test ends.
func mount(t *testing.T, file, dir string) *disk {
	t.Helper()
	d := &disk{t: t, file: file, loop: run(t, "losetup", "--find", "--show", file)}
	t.Cleanup(func() { run(t, "losetup", "--detach", d.loop) })
	run(t, "mount", "-t", "ext4", d.loop, dir)
	t.Cleanup(func() {
		for try := 0; ; try++ { // a process that was killed may still be ending
			err := syscall.Unmount(dir, 0)
			if err == nil {
				return
			}
			if try == 100 {
				t.Errorf("unmount %s: %v", dir, err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return d
}

// writes are the numbers of writes that the device has completed and has under
// way.
func (d *disk) writes() string {
	d.t.Helper()
	b, err := os.ReadFile("/sys/block/" + filepath.Base(d.loop) + "/stat")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 9 {
		d.t.Fatalf("stat of %s: %v %q", d.loop, err, b)
	}
	return f[4] + " " + f[8]
}

// cut copies the disk as it is at one moment: its writers are stopped, and when
// the device was written to during the copy, by the kernel, the copy is thrown
// away.
func (d *disk) cut(w *world, to string) {
	d.t.Helper()
	for range 500 {
		pids := w.writers()
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGSTOP) // it may have ended
		}
		before := d.writes()
		run(d.t, "cp", "--sparse=always", d.file, to)
		same := strings.HasSuffix(before, " 0") && before == d.writes()
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGCONT)
		}
		if same {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatal("the disk is never quiet for as long as a copy takes")
}

// writers are all processes that write to the state directory.
func (w *world) writers() (pids []int) {
	for _, p := range w.processes() {
		if !p.zombie {
			pids = append(pids, p.pid)
		}
	}
	for _, pid := range w.drivers() {
		pids = append(pids, pid)
	}
	return append(pids, w.h.Pid())
}

// told is what clients know for sure of objects: "there" or "absent"; what is
// being changed is not in it.
type told struct {
	mu    sync.Mutex
	state map[string]string // guarded by mu
}

func (k *told) set(name, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state == "" {
		delete(k.state, name)
	} else {
		k.state[name] = state
	}
}

func (k *told) copy() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := map[string]string{}
	for n, s := range k.state {
		c[n] = s
	}
	return c
}

// churn makes and removes objects of a kind until stop is closed.
func (w *world) churn(k *told, name string, make, remove func() answer, stop chan struct{}) {
	for {
		for _, step := range []struct {
			do   func() answer
			then string
		}{{make, "there"}, {remove, "absent"}} {
			select {
			case <-stop:
				return
			default:
			}
			k.set(name, "")
			if a := step.do(); a.ok() {
				k.set(name, step.then)
			} else if a.refused() {
				w.t.Errorf("without a fault: %s", a)
			}
		}
	}
}

// load keeps the disk busy, and knows what it was told.
func (w *world) load(stop chan struct{}) (*told, *sync.WaitGroup) {
	k, all := &told{state: map[string]string{}}, &sync.WaitGroup{}
	for _, i := range w.images {
		all.Go(func() {
			w.churn(k, "image "+i, func() answer { return w.api.pull(i) }, func() answer { return w.api.delete("/images/" + i) }, stop)
		})
	}
	all.Go(func() {
		w.churn(k, "volume vol", func() answer { return w.api.post("/volumes/create", object{"Name": "vol"}) },
			func() answer { return w.api.delete("/volumes/vol") }, stop)
	})
	all.Go(func() {
		w.churn(k, "container churned", func() answer {
			if a := w.api.post("/containers/create?name=churned", object{"Image": "busybox", "Cmd": []string{"true"}, "Volumes": object{"/v": object{}}}); !a.ok() {
				return a
			}
			return w.api.post("/containers/churned/start", nil)
		}, func() answer { return w.api.delete("/containers/churned?force=1&v=1") }, stop)
	})
	return k, all
}

// TestPowerCutsLoseNothingThatWasPromised is short in make test, and has -cuts
// cuts in make powercut.
func TestPowerCutsLoseNothingThatWasPromised(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "disk")
	run(t, "truncate", "-s", "320M", file)
	run(t, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0", file)
	var d *disk
	w := newWorld(t, func(h *testkit.Host) {
		if err := os.Mkdir(h.Dir+"/state", 0o711); err != nil {
			t.Fatal(err)
		}
		d = mount(t, file, h.Dir+"/state")
	})
	stop := make(chan struct{})
	k, all := w.load(stop)
	defer all.Wait()
	defer close(stop)
	rng := newPlan(*seed, nil).rng
	began := time.Now()
	for n := range *cuts {
		time.Sleep(time.Duration(rng.Intn(400)) * time.Millisecond)
		img := filepath.Join(dir, fmt.Sprintf("cut-%d", n))
		before := k.copy()
		d.cut(w, img)
		after := k.copy()
		for name, s := range before { // only what no call was changing
			if after[name] != s {
				delete(before, name)
			}
		}
		t.Run(fmt.Sprintf("cut %d", n), func(t *testing.T) { recoverFrom(t, img, before, w) })
		if err := os.Remove(img); err != nil || t.Failed() || time.Since(began) > *budget {
			t.Logf("ends after %d cuts: %v", n+1, err)
			return
		}
	}
	t.Logf("%d cuts", *cuts)
}

// recoverFrom has a daemon take up what a cut has left, on a machine that has
// booted again.
func recoverFrom(t *testing.T, img string, promised map[string]string, from *world) {
	w := &world{t: t, images: from.images}
	w.h = testkit.New(t, testkit.WithDaemon(rebooted(t)), func(h *testkit.Host) {
		if err := os.Mkdir(h.Dir+"/state", 0o711); err != nil {
			t.Fatal(err)
		}
		mount(t, img, h.Dir+"/state")
	})
	w.api = client{w.h.Socket}
	w.h.Start()
	for name, state := range promised {
		kind, rest, _ := strings.Cut(name, " ")
		path := map[string]string{"image": "/images/" + rest + "/json", "volume": "/volumes/" + rest, "container": "/containers/" + rest + "/json"}[kind]
		if got := w.exists(path); got != state {
			t.Errorf("%s is %s after the cut, and a client was told that it is %s", name, got, state)
		}
	}
	for name := range residents() {
		if s := w.status(name); s == "absent" || s == "unknown" {
			t.Errorf("resident %s is %s", name, s)
		}
	}
	if w.exists("/volumes/vol") == "absent" {
		if _, err := os.Stat(w.h.Dir + "/state/volumes/vol"); err == nil {
			t.Error("the directory of a volume that is not there is left")
		}
	}
	var wrong []string
	w.blobs(&wrong)
	for _, x := range wrong {
		t.Error(x)
	}
	w.wholeImages()
	a := w.api.post("/containers/exited/start", nil)
	if end := w.api.post("/containers/exited/wait", nil); !a.ok() || !strings.Contains(string(end.body), `"StatusCode":11`) {
		t.Errorf("a container does not work: %s, %s", a, end)
	}
	for _, bad := range []string{"unreadable", "cannot be read", "half-made container: "} {
		if strings.Contains(w.h.Log(), bad) {
			t.Errorf("the daemon's log says %q", bad)
		}
	}
}

// rebooted is a daemon that sees another boot id than the present one.
func rebooted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	id, script := filepath.Join(dir, "boot_id"), filepath.Join(dir, "straked")
	if err := os.WriteFile(id, []byte("0f0f0f0f-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\nexec unshare --mount --propagation unchanged sh -c 'mount --make-private /proc && mount --bind %s /proc/sys/kernel/random/boot_id && exec %s \"$@\"' sh \"$@\"\n",
		id, testkit.Bin("straked"))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

// wholeImages demands that the layers of every listed image are there with every
// file that was put into them.
func (w *world) wholeImages() {
	w.t.Helper()
	fs := w.layers()
	for _, tag := range w.tags() {
		var img struct{ RootFS struct{ Layers []string } }
		if err := w.api.get("/images/" + tag + "/json").into(&img); err != nil {
			w.t.Errorf("image %s is listed: %v", tag, err)
			continue
		}
		chain := ""
		for i, diff := range img.RootFS.Layers {
			if chain == "" {
				chain = diff
			} else {
				sum := sha256.Sum256([]byte(chain + " " + diff))
				chain = "sha256:" + hex.EncodeToString(sum[:])
			}
			dir, ok := fs[chain]
			if !ok {
				w.t.Errorf("image %s is listed and its layer %d, %s, is not there", tag, i, chain)
				continue
			}
			if strings.Contains(tag, "crash/") {
				w.wholeLayer(tag, i, dir)
			}
		}
		if a := w.api.get("/images/" + tag + "/get"); !a.ok() {
			w.t.Errorf("image %s is listed and cannot be saved: %s", tag, a.message())
		}
	}
}

// layers are the directories of committed snapshots by key.
func (w *world) layers() map[string]string {
	w.t.Helper()
	root := w.h.Dir + "/state/drivers/storage-overlay/snapshots"
	found := map[string]string{}
	for dir := range listed(root) {
		var r struct{ Key, Kind string }
		text, err := os.Readlink(filepath.Join(root, dir, "record"))
		if err == nil && json.Unmarshal([]byte(text), &r) == nil && r.Kind == "committed" {
			found[r.Key] = filepath.Join(root, dir, "fs")
		}
	}
	return found
}

// wholeLayer reads every file of a layer of the stories' images.
func (w *world) wholeLayer(tag string, i int, dir string) {
	w.t.Helper()
	path := []string{"etc/common", "etc/own", "etc/last"}[i]
	text, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil || len(text) == 0 {
		w.t.Errorf("image %s, layer %d: %s: %v %q", tag, i, path, err, text)
		return
	}
	for j := range ballast {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.d/%d", path, j)))
		if want := strings.Repeat(string(text)+fmt.Sprint(j), repeats); err != nil || string(got) != want {
			w.t.Errorf("image %s, layer %d: %s.d/%d: %v, %d bytes of %d", tag, i, path, j, err, len(got), len(want))
		}
	}
}
