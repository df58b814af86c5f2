package clock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// jump is one setting of the clock.
type jump struct {
	what string
	to   func(now time.Time) time.Time
}

// jumps are made one after another, in one daemon's life and across restarts.
func jumps() []jump {
	return []jump{
		{"to 1970", func(time.Time) time.Time { return time.Unix(60, 0) }},
		{"ten years on", func(now time.Time) time.Time { return now.AddDate(10, 0, 0) }},
		{"a day on", func(now time.Time) time.Time { return now.AddDate(0, 0, 1) }},
		{"a day back", func(now time.Time) time.Time { return now.AddDate(0, 0, -1) }},
	}
}

// long says whether the long form was asked for: make shortage.
func long() bool { return os.Getenv("STRAKE_LONG") != "" }

// counter prints a number every 20 ms; its log shows gaps and doubles.
const counter = `i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done`

// residents live through all jumps.
type residents struct {
	counts, healthy string
	follower        *client
	events          *client
	pid             string
}

func TestNothingEndsWaitsOrIsLostWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	w := start(t)
	h := w.h
	h.MustDocker("pull", "-q", "busybox")
	r := residents{
		counts: h.MustDocker("run", "-d", "--name", "counts", "busybox", "sh", "-c", counter),
		healthy: h.MustDocker("run", "-d", "--name", "healthy", "--health-cmd", "echo >> /checks", "--health-interval", "300ms",
			"--health-timeout", "5s", "--health-retries", "1", "busybox", "sleep", "1000"),
	}
	r.pid = w.inspect(r.counts, ".State.Pid")
	r.follow(w)
	all := jumps()
	if !long() { // one at work, another in between
		w.jumpAtWork(all[0], &r)
		w.jumpWhileDead(all[1], &r, h.Kill)
		all = nil
	}
	for _, j := range all {
		w.jumpAtWork(j, &r)
		w.jumpWhileDead(j, &r, h.Kill)
		w.jumpWhileDead(j, &r, h.Stop)
	}
	if n := wantWhole(t, "the log", h.MustDocker("logs", r.counts)+"\n"); n < 200 {
		t.Errorf("the log has %d lines only", n)
	}
}

func (r *residents) follow(w *world) {
	r.follower = w.beside("logs", "-f", r.counts)
	r.events = w.beside("events", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
	w.h.Eventually(10*time.Second, "health is checked", func() bool { return w.inspect(r.healthy, ".State.Health.Status") == "healthy" })
}

// jumpAtWork sets the clock in the middle of everything that takes time.
func (w *world) jumpAtWork(j jump, r *residents) {
	t, h := w.t, w.h
	t.Helper()
	h.MustDocker("run", "-d", "--name", "stubborn", "busybox", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")
	h.MustDocker("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 2; exit 7")
	h.MustDocker("run", "-d", "--name", "crashes", "--restart", "always", "busybox", "sh", "-c", "sleep 0.2; exit 3")
	h.Eventually(10*time.Second, "it has crashed once", func() bool { return w.number("crashes", ".RestartCount") > 0 })
	w.slow.rate.Store(4 << 20)
	pull := w.beside("pull", "-q", "nginx")
	before := w.slow.bytes.Load()
	h.Eventually(10*time.Second, "the pull is under way", func() bool { return w.slow.bytes.Load() > before+1<<20 })
	began := time.Now()
	stop := w.beside("stop", "-t", "4", "stubborn")
	wait := w.beside("wait", "ends", "stubborn")
	exec := w.beside("exec", r.counts, "sh", "-c", "sleep 2; exit 5")
	pid := w.drivers()["network"]
	w.signal(pid, syscall.SIGSTOP)
	network := w.beside("network", "create", "other")
	time.Sleep(300 * time.Millisecond) // all of them wait by now
	crashes, checks, lines := w.number("crashes", ".RestartCount"), w.checks(r), wantWhole(t, "followed", r.follower.out.String())

	w.c.Set(j.to(time.Now()))
	jumped := time.Now()
	w.shows(j, r)
	time.Sleep(time.Second)
	w.goesOn("a call that waits for a driver", network)
	w.goesOn("stop -t 4", stop)
	w.signal(pid, syscall.SIGCONT)
	for what, c := range map[string]*client{"network create": network, "pull": pull} {
		if got := w.result(what, c, 30*time.Second); got.Code != 0 {
			t.Errorf("%s: %s: code %d: %s", j.what, what, got.Code, tail(got.Stdout))
		}
	}
	t.Logf("%s: the pull was over %s after the jump", j.what, time.Since(jumped).Round(10*time.Millisecond))
	if got := w.drivers()["network"]; got != pid {
		t.Errorf("%s: the network driver was replaced", j.what)
	}
	if got := w.result("exec", exec, 10*time.Second); got.Code != 5 {
		t.Errorf("%s: exec: code %d: %s", j.what, got.Code, got.Stdout)
	}
	w.result("stop", stop, 20*time.Second)
	if took := time.Since(began); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("%s: stop -t 4 took %s", j.what, took)
	}
	if got := w.result("wait", wait, 10*time.Second); got.Stdout != "7\n137\n" {
		t.Errorf("%s: wait: code %d: %q", j.what, got.Code, got.Stdout)
	}
	for name, want := range map[string]string{"ends": "exited 7", "stubborn": "exited 137", "counts": "running 0", "healthy": "running 0"} {
		if got := w.inspect(name, ".State.Status}} {{.State.ExitCode"); got != want {
			t.Errorf("%s: %s is %s, want %s", j.what, name, got, want)
		}
	}
	h.Eventually(20*time.Second, "it is restarted twice more", func() bool { return w.number("crashes", ".RestartCount") >= crashes+2 })
	if n := w.checks(r); n < checks+5 {
		t.Errorf("%s: %d health checks before, %d after", j.what, checks, n)
	}
	if got := w.inspect(r.healthy, ".State.Health.Status}} {{.State.Health.FailingStreak"); got != "healthy 0" {
		t.Errorf("%s: health is %s", j.what, got)
	}
	w.goesOn("logs -f", r.follower)
	w.goesOn("events", r.events)
	if n := wantWhole(t, "followed", r.follower.out.String()); n < lines+50 {
		t.Errorf("%s: %d lines were followed before, %d after", j.what, lines, n)
	}
	if n := w.attached(r); n < lines+50 {
		t.Errorf("%s: attach shows %d lines of the log, there were %d before the jump", j.what, n, lines)
	}
	for _, e := range []string{"die ends", "die stubborn", "start crashes"} {
		if !strings.Contains(r.events.out.String(), e+"\n") {
			t.Errorf("%s: no event %q", j.what, e)
		}
	}
	if out := h.MustDocker("run", "--rm", "nginx", "echo", "whole"); out != "whole" {
		t.Errorf("%s: the image that was pulled meanwhile: %q", j.what, out)
	}
	h.MustDocker("rmi", "nginx")
	h.MustDocker("network", "rm", "other")
	h.MustDocker("rm", "-f", "ends", "stubborn", "crashes")
}

// jumpWhileDead sets the clock while there is no daemon, and back while there is
// one again.
func (w *world) jumpWhileDead(j jump, r *residents, end func()) {
	t, h := w.t, w.h
	t.Helper()
	w.c.Shift(0)
	h.MustDocker("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 7")
	h.MustDocker("run", "-d", "--name", "crashes", "--restart", "always", "busybox", "sh", "-c", "sleep 0.2; exit 3")
	images, volumes := h.MustDocker("images", "-q"), h.MustDocker("volume", "ls")
	end()
	w.c.Set(j.to(time.Now()))
	time.Sleep(1200 * time.Millisecond) // it ends
	h.Start()
	w.shows(j, r)
	if got := w.inspect("ends", ".State.Status}} {{.State.ExitCode"); got != "exited 7" {
		t.Errorf("%s, while dead: ended as %s", j.what, got)
	}
	crashes := w.number("crashes", ".RestartCount")
	h.Eventually(20*time.Second, "it is restarted", func() bool { return w.number("crashes", ".RestartCount") > crashes })
	if got := w.inspect(r.counts, ".State.Status}} {{.State.Pid"); got != "running "+r.pid {
		t.Errorf("%s, while dead: %s, want pid %s", j.what, got, r.pid)
	}
	if now := h.MustDocker("images", "-q"); now != images {
		t.Errorf("%s, while dead: images %s, before %s", j.what, now, images)
	}
	if now := h.MustDocker("volume", "ls"); now != volumes {
		t.Errorf("%s, while dead: volumes %s, before %s", j.what, now, volumes)
	}
	wantWhole(t, j.what+", while dead: the log", h.MustDocker("logs", r.counts)+"\n")
	r.follow(w)
	w.c.Shift(0)
	h.MustDocker("rm", "-f", "ends", "crashes")
}

// shows fails unless daemon, drivers, shims and containers see the clock as it was
// set.
func (w *world) shows(j jump, r *residents) {
	t, h := w.t, w.h
	t.Helper()
	near := func(what, stamp string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if d := w.c.Now().Sub(at); err != nil || d.Abs() > 30*time.Second {
			t.Errorf("%s: %s: %q, want about %s (%v)", j.what, what, stamp, w.c.Now().Format(time.RFC3339), err)
		}
	}
	var info struct{ SystemTime string }
	resp, err := h.API().Get("http://strake/info")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil {
		t.Fatal(err)
	}
	near("the daemon", info.SystemTime)
	time.Sleep(100 * time.Millisecond)
	stamp, _, _ := strings.Cut(h.MustDocker("logs", "-t", "--tail", "1", r.counts), " ")
	near("the shim", stamp)
	near("a container", h.MustDocker("exec", r.counts, "date", "-u", "+%Y-%m-%dT%H:%M:%SZ"))
}

// attached is how many lines of the log a client gets that attaches with what was
// logged before.
func (w *world) attached(r *residents) int {
	w.t.Helper()
	resp, err := w.h.API().Post("http://strake/containers/"+r.counts+"/attach?logs=1&stdout=1", "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return wantWhole(w.t, "attached", out.String())
}

// checks counts the health checks that were made.
func (w *world) checks(r *residents) int {
	w.t.Helper()
	return strings.Count(w.h.Docker("exec", r.healthy, "cat", "/checks").Stdout, "\n")
}

func (w *world) signal(pid int, s syscall.Signal) {
	w.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		w.t.Fatal(err)
	}
}

// drivers are the pids of the drivers by kind.
func (w *world) drivers() map[string]int {
	w.t.Helper()
	resp, err := w.h.API().Get("http://strake/strake/v1/drivers")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list []struct {
		Kind string
		Pid  int
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp.Status, err)
	}
	pids := map[string]int{}
	for _, d := range list {
		pids[d.Kind] = d.Pid
	}
	if len(pids) != 4 {
		w.t.Fatal(fmt.Sprint("drivers ", list))
	}
	return pids
}
