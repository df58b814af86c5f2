package driver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/storage"
)

// inFlight calls Stat with a key that blocks, and returns when the driver works
// on it. release lets every process answer it.
func (f *fixture) inFlight() (answer chan storage.Snapshot, release func()) {
	f.t.Helper()
	answer = make(chan storage.Snapshot, 1)
	go func() {
		s, err := f.Storage().Stat(f.t.Context(), "block-here")
		if err != nil {
			f.t.Errorf("call in flight: %v", err)
		}
		answer <- s
	}()
	state := f.instances[0].stateDir()
	eventually(f.t, "the call is in flight", func() bool {
		_, err := os.Stat(filepath.Join(state, "here.waiting"))
		return err == nil
	})
	return answer, func() {
		if err := os.WriteFile(filepath.Join(state, "here"), nil, 0o600); err != nil {
			f.t.Error(err)
		}
	}
}

func TestCallInFlightSurvivesKill(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	var recovered atomic.Bool
	f.OnRecovered(driver.Storage, func(ctx context.Context, name string) error {
		// The hook's calls reach the new process before all others.
		if _, err := f.Storage().Stat(ctx, "hook"); err != nil {
			t.Errorf("call of the hook: %v", err)
		}
		recovered.Store(name == "test")
		return nil
	})
	answer, release := f.inFlight()
	first := f.pid()
	// Stopped, the first process cannot answer before it is killed.
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all its threads have stopped", func() bool { return stopped(t, first) })
	release()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := <-answer; s.Labels["pid"] == fmt.Sprint(first) {
		t.Error("the killed process answered")
	}
	if !recovered.Load() {
		t.Error("the call went through before handles were recovered")
	}
	d, err := f.Driver(t.Context(), "storage.test")
	if err != nil {
		t.Fatal(err)
	}
	if d.Restarts != 1 || d.Status != "ready" || d.Pid == first {
		t.Errorf("after the relaunch: %+v", d)
	}
}

func TestHungDriverIsReplaced(t *testing.T) {
	t.Parallel()
	f := startGood(t, func(_ *spec, tm *timing) {
		tm.probeEvery, tm.doubt, tm.probe = 20*time.Millisecond, 50*time.Millisecond, time.Second
	})
	first := f.pid()
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all its threads have stopped", func() bool { return stopped(t, first) })
	f.says(hung, "did not answer")
	s, err := f.Storage().Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if s.Labels["pid"] == fmt.Sprint(first) {
		t.Error("the stopped process answered")
	}
	if err := syscall.Kill(first, 0); err == nil {
		t.Error("the hung process is still there")
	}
}

// A driver that does not answer is said to hang while that is so, and what it
// said of itself is told again when it does.
func TestASilentDriverIsSaidToHang(t *testing.T) {
	t.Parallel()
	f := startGood(t, func(_ *spec, tm *timing) {
		tm.probeEvery, tm.doubt, tm.probe = 20*time.Millisecond, 50*time.Millisecond, time.Minute
	})
	for range 2 {
		if err := syscall.Kill(f.pid(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		f.says(hung, "did not answer for 50ms")
		if err := syscall.Kill(f.pid(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		f.says("ready", "")
	}
	d, err := f.Driver(t.Context(), "test")
	if err != nil || d.Restarts != 0 || d.Pid != f.pid() {
		t.Errorf("%+v %v", d, err)
	}
}

// says waits until the driver is listed with a status and a reason.
func (f *fixture) says(status, reason string) {
	f.t.Helper()
	eventually(f.t, "the driver is "+status, func() bool {
		d, err := f.Driver(f.t.Context(), "test")
		return err == nil && d.Status == status && strings.Contains(d.Reason, reason)
	})
}

// stopped says whether all threads of a process are stopped: SIGSTOP takes its
// time.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	for _, th := range threads {
		if b, err := os.ReadFile(th); err != nil || !strings.Contains(string(b), ") T ") {
			return false
		}
	}
	return true
}

func TestCallThatMustNotBeRepeatedFails(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	a, ok := f.Storage().(storage.Applier)
	if !ok {
		t.Fatal("the driver's Apply is not found by type assertion")
	}
	if _, ok := f.Storage().(storage.Differ); ok {
		t.Error("a Diff is found that the driver does not have")
	}
	if _, err := a.Apply(t.Context(), "exit", strings.NewReader("tar")); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "died during Apply") {
		t.Errorf("got %v", err)
	}
	if r, err := a.Apply(t.Context(), "x", strings.NewReader("tar")); err != nil || r.Bytes != 3 {
		t.Errorf("afterwards: %+v %v", r, err)
	}
}

func TestCallThatKillsEveryProcessFails(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	_, err := f.Storage().Stat(t.Context(), "exit")
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "died twice during Stat") {
		t.Fatalf("got %v", err)
	}
	if _, err := f.Storage().Stat(t.Context(), "x"); err != nil {
		t.Errorf("another call afterwards: %v", err)
	}
}

func TestRestartReplacesTheProcess(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	first := f.pid()
	d, err := f.Restart(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if d.Pid == first || d.Pid == 0 || d.Status != "ready" {
		t.Errorf("got %+v, first pid %d", d, first)
	}
	if _, err := f.Storage().Stat(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if _, err := f.Restart(t.Context(), "tset"); !errdefs.IsNotFound(err) {
		t.Errorf("unknown driver: %v", err)
	}
}

func TestReloadRelaunchesWhatChanged(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	first := f.pid()
	c := *f.config
	c.Storage = config.Driver{Driver: "test"}
	err := f.Reload(&c) // this host has but one driver, the configuration four
	wantSays(t, err, "[network] is new", "[registry] is new", "[runtime] is new")
	if f.pid() != first {
		t.Fatal("relaunched though nothing changed")
	}
	c.Storage.Options = map[string]any{"mark": "new"}
	wantSays(t, f.Reload(&c), "restart straked")
	eventually(t, "the new options are in force", func() bool {
		s, err := f.Storage().Stat(t.Context(), "x")
		return err == nil && strings.Contains(s.Labels["options"], `"new"`)
	})
	c.Storage.Driver = "other"
	wantSays(t, f.Reload(&c), `"test"`, "no longer there")
}

func TestErrorsOfDriversPassUnchanged(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	if _, err := f.Storage().Stat(t.Context(), "missing"); !errdefs.IsNotFound(err) || !strings.HasPrefix(err.Error(), "snapshot missing") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	first := f.pid()
	if _, err := f.Storage().Stat(ctx, "sleep-1h"); !errdefs.IsDeadlineExceeded(err) {
		t.Errorf("the caller's own deadline: %v", err)
	}
	if err := f.Storage().Shutdown(t.Context()); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Shutdown by the core: %v", err)
	}
	if f.pid() != first {
		t.Error("the driver was replaced for the caller's impatience")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	pid := f.pid()
	f.Close()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the process is still there")
	}
	left, err := os.ReadDir(f.socketDir())
	if err != nil || len(left) > 0 {
		t.Errorf("sockets are left: %v %v", left, err)
	}
}

func TestDelaysGrowToABound(t *testing.T) {
	tm := patience()
	var d, sum time.Duration
	for range 20 {
		next := tm.next(d)
		if next < d || next > tm.maxDelay || d > 0 && next > 2*d {
			t.Fatalf("%v follows %v", next, d)
		}
		d, sum = next, sum+next
	}
	if d != tm.maxDelay {
		t.Errorf("after 20 launches the delay is %v, want %v (sum %v)", d, tm.maxDelay, sum)
	}
}

func TestNamesAreLookedUp(t *testing.T) {
	c := config.Default()
	c.Runtimes = map[string]config.Driver{"crun": {Driver: "runc"}}
	h := New(c, startGood(t, nil).log)
	for _, tc := range []struct{ ask, want string }{{"", "runc"}, {"runc", "runc"}, {"io.containerd.runc.v2", "runc"}, {"crun", "crun"}} {
		_, name, _, err := h.Runtime(tc.ask)
		if err != nil || name != tc.want {
			t.Errorf("runtime %q: got %q, %v", tc.ask, name, err)
		}
	}
	_, _, _, err := h.Runtime("kata")
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown runtime: %v", err)
	}
	wantSays(t, err, "unknown or invalid runtime name: kata", "runc, crun", "[runtimes.NAME]")
	c.DefaultRuntime = "crun"
	if _, name, _, err := New(c, h.log).Runtime(""); err != nil || name != "crun" {
		t.Errorf("default runtime: got %q, %v", name, err)
	}
}

func BenchmarkCallThroughHost(b *testing.B) {
	f := startGood(b, nil)
	direct, _ := f.instances[0].get()
	raw := direct.proc.driver.(storage.Driver)
	proxy := f.Storage()
	for name, d := range map[string]storage.Driver{"direct": raw, "proxy": proxy} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Stat(b.Context(), "x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What the host adds to a call: no process, no gRPC behind the proxy.
func BenchmarkProxyAlone(b *testing.B) {
	in := newInstance(newHost(config.Default(), hclog.NewNullLogger(), nil), spec{kind: driver.Storage, name: "test"})
	in.state.proc = &process{in: in, driver: instant{}, duty: newDuty()}
	d := newStorage(in)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Stat(b.Context(), "x"); err != nil {
			b.Fatal(err)
		}
	}
}

// instant answers at once.
type instant struct{ storage.Driver }

func (instant) Stat(context.Context, storage.SnapshotKey) (storage.Snapshot, error) {
	return storage.Snapshot{}, nil
}
