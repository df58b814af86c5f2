// Package group holds what is measured: one group of measurements a file.
package group

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/measure"
	"github.com/strakehq/strake/test/bench/stage"
)

// Names of images within every engine's registry.
const (
	registry = "127.0.0.1:5000/library/"
	busybox  = registry + "busybox"
	nginx    = registry + "nginx"
)

// Lab is where groups find engines and leave what they measured.
type Lab struct {
	Book   *measure.Book
	Images string // storage directory of the registries
	// Reps replaces the number of repetitions that a group would do; 0 leaves
	// it. Short makes everything small, for a look at whether it works.
	Reps  int
	Short bool
	Out   io.Writer
	Root  string // of the repository, to build from

	tb     *stage.TB // engines end with it
	strake func() *engine.Strake
	docker func() (*engine.Engine, error)
	podman func() (*engine.Engine, error)
	crowd  func() *engine.Strake

	mu      sync.Mutex
	missing map[string]string // guarded by mu; peers that do not start, and why
	pulled  map[string]bool   // guarded by mu; engine and image
}

// Open makes a lab; engines start when they are first asked for, and end with
// tb.
func Open(tb *stage.TB, l *Lab) *Lab {
	l.tb, l.missing, l.pulled = tb, map[string]string{}, map[string]bool{}
	l.strake = sync.OnceValue(func() *engine.Strake { return engine.StartStrake(tb, "strake", l.Images) })
	l.crowd = sync.OnceValue(func() *engine.Strake { return engine.StartStrake(tb, "crowd", l.Images) })
	l.docker = sync.OnceValues(func() (*engine.Engine, error) { return engine.StartDocker(tb, l.Images) })
	l.podman = sync.OnceValues(func() (*engine.Engine, error) { return engine.StartPodman(tb, l.Images) })
	return l
}

// Group is a part of the measurements, as ONLY= names it.
type Group struct {
	Name string
	Run  func(*Lab, *stage.TB)
}

// All are the groups in the order in which they run. Memory comes first: another
// daemon of the same file would share its text. Those that leave much behind come
// last.
func All() []Group {
	return []Group{
		{"memory", memory},
		{"cli", cli},
		{"start", start},
		{"exec", execs},
		{"stop", stops},
		{"serve", serve},
		{"many", many},
		{"traffic", traffic},
		{"logs", logs},
		{"pull", pull},
		{"remove", removal},
		{"loaded", loaded},
		{"daemon", daemon},
		{"ps", ps},
		{"api", api},
	}
}

// Missing are the peers that could not be started, and why.
func (l *Lab) Missing() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing
}

// reps is how often to measure: full, or fewer where that was asked for.
func (l *Lab) reps(full int) int {
	switch {
	case l.Reps > 0:
		return l.Reps
	case l.Short:
		return min(full, 3)
	}
	return full
}

// size is a number of things: full, or in short runs small.
func (l *Lab) size(full, small int) int {
	if l.Short {
		return small
	}
	return full
}

// peers are those of docker.io and podman that can be started.
func (l *Lab) peers() []*engine.Engine {
	var list []*engine.Engine
	for name, get := range map[string]func() (*engine.Engine, error){"docker.io": l.docker, "podman": l.podman} {
		e, err := get()
		if err != nil {
			l.mu.Lock()
			l.missing[name] = err.Error()
			l.mu.Unlock()
			continue
		}
		list = append(list, e)
	}
	return list
}

// withDaemon are the peers that have a daemon.
func (l *Lab) withDaemon() []*engine.Engine {
	var list []*engine.Engine
	for _, e := range l.peers() {
		if e.Socket != "" {
			list = append(list, e)
		}
	}
	return list
}

// have makes sure that engines have an image.
func (l *Lab) have(tb testing.TB, image string, engines ...*engine.Engine) {
	tb.Helper()
	for _, e := range engines {
		key := e.Host.Dir + image
		l.mu.Lock()
		done := l.pulled[key]
		l.pulled[key] = true
		l.mu.Unlock()
		if !done {
			e.Must(tb, "pull", "-q", image)
		}
	}
}

// contestant is an engine, or a floor, in a comparison.
type contestant struct {
	name   string
	engine *engine.Engine // nil: its processor time is not counted
	// setUp and after surround what is measured. Each may be nil.
	setUp func(i int)
	do    func(i int) float64
	after func(i int)
	peak  bool // measure memory too
	most  int  // repetitions at most; 0: as many as the others
}

// of makes a contestant that measures by f.
func of(e *engine.Engine, f func(i int) float64) contestant {
	return contestant{name: e.Name, engine: e, do: f}
}

// interleave has each in turn do one repetition, then the next, after one
// warm-up that does not count.
func (l *Lab) interleave(group, name, unit string, reps int, list ...contestant) {
	fmt.Fprintf(l.Out, "  %s: %s, %d repetitions\n", group, name, reps)
	for i := range reps + 1 {
		for _, c := range list {
			if c.most > 0 && i > c.most {
				continue
			}
			l.once(group, name, unit, i, c)
		}
	}
}

func (l *Lab) once(group, name, unit string, i int, c contestant) {
	if c.setUp != nil {
		c.setUp(i)
	}
	var cpu, value, peak float64
	if c.engine != nil {
		cpu = c.engine.CG.CPU()
	}
	if c.peak {
		peak = measure.Peak(c.engine.Processes, func() { value = c.do(i) })
	} else {
		value = c.do(i)
	}
	if i > 0 {
		s := l.Book.Of(group, name, c.name, unit)
		s.Sample = append(s.Sample, value)
		if c.engine != nil {
			s.CPU = append(s.CPU, c.engine.CG.CPU()-cpu)
		}
		if c.peak {
			s.Peak = append(s.Peak, peak)
		}
	}
	if c.after != nil {
		c.after(i)
	}
}

// note keeps a single value.
func (l *Lab) note(group, name, engine, unit string, value float64) {
	s := l.Book.Of(group, name, engine, unit)
	s.Sample = append(s.Sample, value)
}

// clients runs f n times, by so many clients at once. Failures are collected.
func clients(at, n int, f func(i int) error) error {
	work := make(chan int)
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for i := range work {
				if err := f(i); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	close(errs)
	return <-errs // the first, or nil
}

// try is a command as an error.
func try(e *engine.Engine, args ...string) (string, error) {
	r := e.Run(args...)
	if r.Code != 0 {
		return "", fmt.Errorf("%s %v: exit code %d: %s", e.Name, args, r.Code, r.Stderr)
	}
	return r.Out(), nil
}
