package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
// away. It returns what clients knew for sure at that moment.
func (d *disk) cut(w *world, k *told, to string) map[string]string {
	d.t.Helper()
	for range 500 {
		pids := w.writers()
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGSTOP) // it may have ended
		}
		before, promised := d.writes(), k.copy()
		run(d.t, "cp", "--sparse=always", d.file, to)
		same := strings.HasSuffix(before, " 0") && before == d.writes()
		k.confirm(promised)
		for _, p := range pids {
			syscall.Kill(p, syscall.SIGCONT)
		}
		if same {
			states := map[string]string{}
			for name, s := range promised {
				states[name] = s.state
			}
			return states
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatal("the disk is never quiet for as long as a copy takes")
	return nil
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

// known is what clients know for sure of an object, "there" or "absent", since
// its turn-th change; "": it is being changed.
type known struct {
	state string
	turn  int
}

// told is what they know of each.
type told struct {
	mu    sync.Mutex
	state map[string]known // guarded by mu
}

func (k *told) set(name, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state[name] = known{state, k.state[name].turn + 1}
}

// copy is without what is being changed.
func (k *told) copy() map[string]known {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := map[string]known{}
	for n, s := range k.state {
		if s.state != "" {
			c[n] = s
		}
	}
	return c
}

// confirm takes out of a copy what was changed since.
func (k *told) confirm(c map[string]known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n, s := range c {
		if k.state[n] != s {
			delete(c, n)
		}
	}
}

// rest is how long an object stays as it is: of one that is always being changed
// nothing is known at a cut.
const rest = 60 * time.Millisecond

// step does what makes an object so, and notes it.
func (w *world) step(k *told, name, state string, do func() answer) {
	k.set(name, "")
	if a := do(); a.ok() {
		k.set(name, state)
	} else if a.refused() {
		w.t.Errorf("without a fault: %s", a)
	}
	time.Sleep(rest)
}

// churn makes and removes an object until stop is closed.
func (w *world) churn(k *told, name string, make, remove func() answer, stop chan struct{}) {
	for {
		for _, then := range []string{"there", "absent"} {
			select {
			case <-stop:
				return
			default:
			}
			w.step(k, name, then, map[string]func() answer{"there": make, "absent": remove}[then])
		}
	}
}

// swap has one of two objects of a kind there, and now and then both, until stop
// is closed: at any moment it is known of one of them what it is.
func (w *world) swap(k *told, kind string, make, remove func(name string) answer, stop chan struct{}) {
	for this, other := kind+"1", kind+"2"; ; this, other = other, this {
		select {
		case <-stop:
			return
		default:
		}
		w.step(k, kind+" "+this, "there", func() answer { return make(this) })
		if w.exists("/"+kind+"s/"+other) == "there" {
			w.step(k, kind+" "+other, "absent", func() answer { return remove(other) })
		}
	}
}

// load keeps the disk busy, and knows what it was told.
func (w *world) load(stop chan struct{}) (*told, *sync.WaitGroup) {
	k, all := &told{state: map[string]known{}}, &sync.WaitGroup{}
	for _, i := range w.images {
		all.Go(func() {
			w.churn(k, "image "+i, func() answer { return w.api.pull(i) }, func() answer { return w.api.delete("/images/" + i) }, stop)
		})
	}
	all.Go(func() {
		w.swap(k, "volume", func(n string) answer { return w.api.post("/volumes/create", object{"Name": n}) },
			func(n string) answer { return w.api.delete("/volumes/" + n) }, stop)
	})
	all.Go(func() {
		w.swap(k, "network", func(n string) answer { return w.api.post("/networks/create", object{"Name": n, "Driver": "bridge"}) },
			func(n string) answer { return w.api.delete("/networks/" + n) }, stop)
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
	began, counts := time.Now(), map[string]int{}
	for n := range *cuts {
		time.Sleep(time.Duration(rng.Intn(400)) * time.Millisecond)
		img := filepath.Join(dir, fmt.Sprintf("cut-%d", n))
		promised := d.cut(w, k, img)
		for name, state := range promised {
			counts[strings.TrimRight(name, "0123456789-")+" "+state]++
		}
		t.Run(fmt.Sprintf("cut %d", n), func(t *testing.T) { recoverFrom(t, img, promised, w) })
		if err := os.Remove(img); err != nil || t.Failed() || time.Since(began) > *budget {
			t.Logf("ends after %d cuts: %v", n+1, err)
			return
		}
	}
	t.Logf("%d cuts, of which clients had been told: %v", *cuts, counts)
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
		path := map[string]string{
			"image": "/images/" + rest + "/json", "volume": "/volumes/" + rest, "network": "/networks/" + rest, "container": "/containers/" + rest + "/json",
		}[kind]
		if got := w.exists(path); got != state {
			t.Errorf("%s is %s after the cut, and a client was told that it is %s", name, got, state)
		}
	}
	for name := range residents() {
		if s := w.status(name); s == "absent" || s == "unknown" {
			t.Errorf("resident %s is %s", name, s)
		}
	}
	volumes := w.volumes()
	for v := range listed(w.h.Dir + "/state/volumes") {
		if !slices.Contains(volumes, v) {
			t.Errorf("the directory of volume %s, which is not there, is left", v)
		}
	}
	var wrong []string
	w.blobs(&wrong)
	for _, x := range wrong {
		t.Error(x)
	}
	w.wholeImages()
	w.wholeNetworks()
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

// wholeNetworks demands that the networks that are listed, and no more, have a
// bridge and a driver's record, that a container in each of them has the address
// that is told, that another one can be made, and that all can be removed.
func (w *world) wholeNetworks() {
	w.t.Helper()
	w.must(w.api.delete("/containers/again?force=1")) // it comes and goes
	w.must(w.api.post("/networks/create", object{"Name": "network3", "Driver": "bridge"}))
	var names []string
	for _, n := range w.names("/networks") {
		if n == "host" || n == "none" {
			continue
		}
		names = append(names, n)
		w.must(w.api.post("/containers/create?name=in-"+n, object{
			"Image": "busybox", "Cmd": []string{"sleep", "1000"}, "StopSignal": "SIGKILL", "HostConfig": object{"NetworkMode": n},
		}))
		w.must(w.api.post("/containers/in-"+n+"/start", nil))
	}
	var wrong []string
	w.soon(func() bool {
		all, err := w.containers()
		if wrong = w.checkNetwork(all); err != nil {
			wrong = append(wrong, err.Error())
		}
		return len(wrong) == 0
	})
	for _, x := range wrong {
		w.t.Errorf("networks after the cut: %s", x)
	}
	for _, n := range names {
		w.must(w.api.delete("/containers/in-" + n + "?force=1"))
		if n != "bridge" {
			w.must(w.api.delete("/networks/" + n))
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
