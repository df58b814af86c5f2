package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/runtime-runc/internal/runc"
	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/runtime"
)

// bench is a driver, and bundles for it.
type bench struct {
	testing.TB
	d      *runc.Driver
	conf   driver.Config
	parent string // cgroup
	exits  chan runtime.Event
}

func newBench(b testing.TB) *bench {
	b.Helper()
	return benchOf(b, libexec(b), `{"shim_cgroup": ""}`)
}

// benchOf is one with the shim of a directory and with options.
func benchOf(b testing.TB, programs, options string) *bench {
	b.Helper()
	c := conformance.TestConfig(b, options)
	c.Libexec = programs
	parent := "/strake-test-bench-" + filepath.Base(filepath.Dir(c.RunDir))
	x := &bench{TB: b, d: runc.New(hclog.NewNullLogger()), conf: c, parent: parent, exits: make(chan runtime.Event, 100)}
	if err := x.d.Configure(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	go func() {
		err := x.d.WatchEvents(b.Context(), func(e runtime.Event) { x.exits <- e })
		if !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	}()
	b.Cleanup(func() {
		if err := errors.Join(x.d.Collect(context.Background(), nil), x.d.Shutdown(context.Background())); err != nil {
			b.Error(err)
		}
		dirs, err := filepath.Glob("/sys/fs/cgroup/*" + x.parent)
		for _, d := range append(dirs, "/sys/fs/cgroup"+x.parent) {
			if rerr := os.Remove(d); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
		if err != nil {
			b.Error(err)
		}
	})
	return x
}

func (x *bench) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// bundle makes a bundle whose root file system is the host's busybox.
func (x *bench) bundle(id string, args ...string) string {
	busybox, err := exec.LookPath("busybox")
	x.must(err)
	dir := x.TempDir()
	x.must(os.MkdirAll(dir+"/rootfs/bin", 0o755))
	x.must(os.MkdirAll(dir+"/rootfs/proc", 0o755))
	data, err := os.ReadFile(busybox)
	x.must(err)
	for _, name := range []string{"sh", "true", "sleep", "yes", "head", "seq"} {
		x.must(os.WriteFile(dir+"/rootfs/bin/"+name, data, 0o755))
	}
	spec, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2", "root": map[string]any{"path": dir + "/rootfs"}, "process": process(args...),
		"mounts": []any{map[string]any{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": map[string]any{
			"cgroupsPath": x.parent + "/" + id,
			"namespaces":  []any{map[string]string{"type": "pid"}, map[string]string{"type": "mount"}, map[string]string{"type": "ipc"}, map[string]string{"type": "uts"}, map[string]string{"type": "network"}},
		},
	})
	x.must(err)
	x.must(os.WriteFile(dir+"/config.json", spec, 0o600))
	return dir
}

func process(args ...string) map[string]any {
	return map[string]any{"cwd": "/", "args": args, "env": []string{"PATH=/bin"}, "user": map[string]any{"uid": 0, "gid": 0}}
}

func (x *bench) run(id, bundle string, io runtime.IO) {
	cid := runtime.ContainerID(id)
	_, _, err := x.d.Create(x.Context(), runtime.CreateRequest{ID: cid, Bundle: bundle, IO: io})
	x.must(err)
	_, err = x.d.Start(x.Context(), cid)
	x.must(err)
}

func (x *bench) wait(id string) {
	for e := range x.exits {
		if e.ID == runtime.ContainerID(id) && e.Exec == "" {
			return
		}
	}
}

func (x *bench) delete(id string) {
	_, err := x.d.Delete(x.Context(), runtime.ContainerID(id), true)
	x.must(err)
}

// BenchmarkRun runs "true" through the driver and, for comparison, with bare
// runc.
func BenchmarkRun(b *testing.B) {
	x := newBench(b)
	bundle := x.bundle("run", "true")
	b.Run("driver", func(b *testing.B) {
		defer x.processorTime(b)()
		for b.Loop() {
			x.run("run", bundle, runtime.IO{Log: runtime.Log{Path: bundle + "/log"}})
			x.wait("run")
			x.delete("run")
		}
	})
	b.Run("bare", func(b *testing.B) {
		root := b.TempDir()
		defer x.processorTime(b)()
		for b.Loop() {
			x.must(exec.CommandContext(b.Context(), "runc", "--root", root, "run", "--bundle", bundle, "run").Run())
		}
	})
}

// processorTime reports what all processes used, which says more than the
// clock on a busy machine.
func (x *bench) processorTime(b *testing.B) (report func()) {
	begin := x.used()
	return func() { b.ReportMetric(float64((x.used()-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op") }
}

func (x *bench) used() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		x.must(unix.Getrusage(who, &r))
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

func BenchmarkExec(b *testing.B) {
	x := newBench(b)
	x.run("exec", x.bundle("exec", "sleep", "1000"), runtime.IO{})
	p, err := json.Marshal(process("true"))
	x.must(err)
	for b.Loop() {
		_, _, err := x.d.Exec(b.Context(), runtime.ExecRequest{ID: "exec", Exec: "x", Process: p})
		x.must(err)
		for e := range x.exits {
			if e.Exec == "x" {
				break
			}
		}
		x.must(x.d.DeleteExec(b.Context(), "exec", "x"))
	}
}

// BenchmarkLog has a container write lines; an operation is 256 MiB.
func BenchmarkLog(b *testing.B) {
	const size = 256 << 20
	x := newBench(b)
	line := strings.Repeat("0123456789", 10)
	bundle := x.bundle("log", "sh", "-c", fmt.Sprintf("yes %s | head -c %d", line, size))
	b.SetBytes(size)
	for b.Loop() {
		x.run("log", bundle, runtime.IO{Log: runtime.Log{Path: bundle + "/log", MaxSize: 100 << 20, MaxFiles: 2}})
		x.wait("log")
		x.delete("log")
	}
}

// BenchmarkMemory reports the proportional memory of a shim, alone and among
// twenty, in KiB.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := newBench(b)
			for i := range n {
				id := "m" + strconv.Itoa(i)
				x.run(id, x.bundle(id, "sleep", "1000"), runtime.IO{Log: runtime.Log{Path: b.TempDir() + "/log"}})
			}
			for b.Loop() {
				sum := 0
				for i := range n {
					pid, err := findShim(runtime.ContainerID("m" + strconv.Itoa(i)))
					x.must(err)
					sum += pss(x, pid)
				}
				b.ReportMetric(float64(sum)/float64(n), "KiB/shim")
			}
		})
	}
}

func pss(x *bench, pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	x.must(err)
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "Pss:" {
			n, err := strconv.Atoi(f[1])
			x.must(err)
			return n
		}
	}
	x.Fatal("no Pss")
	return 0
}
