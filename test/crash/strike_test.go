package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/test/testkit"
)

// arm has a point act.
func (w *world) arm(s strike) {
	w.t.Helper()
	action := "kill"
	switch {
	case s.stop > 0:
		action = "stop"
	case s.point == mishap.ShimRunning:
		action = "children" // the OCI runtime, in mid-flight
	}
	text := fmt.Sprintf("%d %s", s.hit, action)
	drivers := w.drivers()
	for _, v := range s.with {
		pid := drivers[v]
		if v == "daemon" {
			pid = w.h.Pid()
		}
		if pid > 0 {
			text += fmt.Sprint(" ", pid)
		}
	}
	if err := os.WriteFile(filepath.Join(w.faults, "arming"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.faults, "arming"), filepath.Join(w.faults, string(s.point))); err != nil {
		w.t.Fatal(err)
	}
}

// disarm takes the point back, and says who was hit by it: 0 and "" when it did
// not act.
func (w *world) disarm(p mishap.Point) (pid int, who string) {
	w.t.Helper()
	os.Remove(filepath.Join(w.faults, string(p)))
	pid, who = w.whoFired(p)
	os.Remove(filepath.Join(w.faults, "fired", string(p)))
	return pid, who
}

// whoFired is the process that acted at a point, if one has.
func (w *world) whoFired(p mishap.Point) (pid int, who string) {
	b, err := os.ReadFile(filepath.Join(w.faults, "fired", string(p)))
	if err == nil {
		_, err = fmt.Sscan(string(b), &pid, &who)
	}
	if err != nil && !os.IsNotExist(err) {
		w.t.Errorf("who came to %s: %v: %q", p, err, b)
	}
	return pid, who
}

func (w *world) fired(p mishap.Point) bool {
	_, err := os.Stat(filepath.Join(w.faults, "fired", string(p)))
	return err == nil
}

// ours says whether a process still runs one of our programs: the pid of one
// that has ended may be another's.
func ours(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Dir(exe) == os.Getenv("STRAKE_BIN")
}

// stopAtRandom stops a driver for a while, and says whom.
func (w *world) stopAtRandom(kind string, d time.Duration) []string {
	pid := w.drivers()[kind]
	if !ours(pid) || syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return nil
	}
	w.keepStopped(pid, d)
	return []string{kind + stopped}
}

// stopAtPoint keeps the process stopped that comes to the point, until over is
// closed and nobody has come.
func (w *world) stopAtPoint(s strike, over <-chan struct{}) {
	for !w.fired(s.point) {
		select {
		case <-over:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	pid, _ := w.whoFired(s.point)
	w.keepStopped(pid, s.stop)
}

// keepStopped continues a stopped process after a while. Within a minute it must
// have been replaced.
func (w *world) keepStopped(pid int, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && testkit.Alive(pid) && ours(pid); {
		time.Sleep(20 * time.Millisecond)
	}
	if !testkit.Alive(pid) || !ours(pid) {
		return
	}
	if d >= aMinute {
		w.t.Errorf("driver %d was stopped for %s and not replaced", pid, d)
	}
	syscall.Kill(pid, syscall.SIGCONT)
}

// strikeAtRandom kills somebody, and says whom.
func (w *world) strikeAtRandom(victim string) (killed []string) {
	drivers := w.drivers()
	kill := func(name string, pid int) {
		if name != "runc" && !ours(pid) {
			return
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed = append(killed, name)
		}
	}
	switch victim {
	case "daemon":
		kill("daemon", w.h.Pid())
	case "drivers", "everything":
		for k, pid := range drivers {
			kill(k, pid)
		}
		if victim == "everything" {
			kill("daemon", w.h.Pid())
		}
	case "shim", "shims", "shim and runtime":
		for _, p := range w.processes() {
			if p.name == "strake-shim" && (victim != "shim" || len(killed) == 0) {
				kill("shim", p.pid)
			}
		}
		if victim == "shim and runtime" {
			kill("runtime", drivers["runtime"])
		}
	case "runc":
		w.soon(func() bool {
			for _, p := range w.processes() {
				if p.name == "runc" {
					kill("runc", p.pid)
				}
			}
			return len(killed) > 0
		})
	default:
		kill(victim, drivers[victim])
	}
	return killed
}

// round strikes under load, brings the daemon back and checks.
func (w *world) round(n int, s strike, patience time.Duration, r *report) {
	w.t.Helper()
	first := w.h.Pid()
	w.arm(s)
	over, stops := make(chan struct{}), sync.WaitGroup{}
	if s.stop > 0 {
		stops.Go(func() { w.stopAtPoint(s, over) })
	}
	struck := make(chan []string, len(s.random))
	for _, m := range s.random {
		go func() {
			time.Sleep(m.after)
			if m.stop > 0 {
				struck <- w.stopAtRandom(m.victim, m.stop)
			} else {
				struck <- w.strikeAtRandom(m.victim)
			}
		}()
	}
	tellers := w.tell(n)
	var victims []string
	for range s.random {
		victims = append(victims, <-struck...)
	}
	if !w.fired(s.point) && !w.h.Lost() { // it may come in a recovery
		victims = append(victims, w.strikeAtRandom("daemon")...)
	}
	w.bringBack(w.daemonHit(s, victims))
	close(over)
	stops.Wait()
	pid, who := w.disarm(s.point)
	if pid == w.h.Pid() || who != "" && slices.Contains(s.with, "daemon") && first == w.h.Pid() {
		w.bringBack(true) // it came to the point when it had just been looked at
	}
	if who != "" && s.stop > 0 {
		who += stopped
	}
	w.excused = unseen(s, who, victims)
	fates := w.collect(tellers, r)
	if who == "" && len(victims) == 0 && len(r.latest) > 0 {
		w.t.Errorf("without any fault there were errors:\n  %s", strings.Join(r.latest, "\n  "))
	}
	w.await(patience, "all is well again", fates)
	w.checkFollower(who == "straked" || who != "" && slices.Contains(s.with, "daemon") || slices.Contains(victims, "daemon"))
	if !w.growing() {
		w.t.Errorf("the log of count does not grow")
	}
	if !w.t.Failed() {
		w.awaitClean(patience)
	}
	r.note(s.point, who, s.with, victims)
	w.excused = false
	if w.t.Failed() {
		w.keepEvidence()
		w.t.Fatalf("round %d: %+v hit %q, and at random %v", n, s, who, victims)
	}
}

// tell starts all stories.
func (w *world) tell(n int) []*teller {
	var tellers []*teller
	var all sync.WaitGroup
	for k, story := range stories() {
		s := &teller{w: w, name: fmt.Sprintf("%s-%d", k, n), daemon: w.h.Pid()}
		tellers = append(tellers, s)
		all.Go(func() { story(s) })
	}
	all.Wait()
	return tellers
}

// survives says whether a process that broke a connection is there still after
// the time that a killed one takes to be gone.
func (w *world) survives(pid int) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !testkit.Alive(pid) {
			return false
		}
	}
	return true
}

// collect gathers what the stories have to say.
func (w *world) collect(tellers []*teller, r *report) (fates []*fate) {
	w.t.Helper()
	r.latest = nil
	for _, s := range tellers {
		fates = append(fates, s.fates...)
		if !w.excused {
			s.lies = append(s.lies, s.doubts...)
		}
		for _, l := range s.lies {
			w.t.Errorf("a client was told what is not so: %s", l)
		}
		for _, x := range s.refusals {
			r.refuse(x)
		}
	}
	return fates
}

// bringBack starts the daemon until it stays. dying says that it was killed.
func (w *world) bringBack(dying bool) {
	w.t.Helper()
	if dying {
		w.h.Eventually(10*time.Second, "the killed daemon ends", w.h.Lost)
	}
	const tries = 5
	for try := 1; ; try++ {
		if !w.h.Lost() && w.dial() {
			return
		}
		err := error(nil)
		if w.h.Lost() {
			err = w.h.TryStart()
		}
		if err != nil && try == tries {
			w.t.Fatalf("the daemon does not come back: %v\n%s", err, w.h.Log())
		}
	}
}

// daemonHit says that the daemon was killed, or is about to end.
func (w *world) daemonHit(s strike, victims []string) bool {
	_, who := w.whoFired(s.point)
	return slices.Contains(victims, "daemon") || who == "straked" || who != "" && slices.Contains(s.with, "daemon")
}

// unseen says that shim and driver were killed together: nobody can know the
// exit status, and the output that was on its way, of a process that ends then.
func unseen(s strike, who string, victims []string) bool {
	all := strings.Join(append(append([]string{who}, s.with...), victims...), " ")
	return strings.Contains(all, "shim") &&
		(strings.Contains(all, "runtime") || strings.Contains(all, "daemon") || strings.Contains(all, "straked"))
}

// checkFollower demands that a log is followed on unless the daemon died.
func (w *world) checkFollower(daemon bool) {
	w.t.Helper()
	f := w.follower
	if !daemon && !f.ended() {
		return
	}
	if daemon {
		<-f.done
	}
	if f.err != nil {
		w.t.Error(f.err)
	}
	if !daemon && f.ended() {
		w.t.Errorf("following a log ended after %d lines, and the daemon lives", f.lines)
	}
	w.follower = follow(w)
}
