package group

import (
	"fmt"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/images"
	"github.com/strakehq/strake/test/bench/stage"
)

const (
	big = registry + "big"
	ngx = registry + "ngx"
)

// pull is the time until an image is there to stay: durable where the engine
// makes it so.
func pull(l *Lab, tb *stage.TB) {
	s := l.strake().Runc
	all := append([]*engine.Engine{s}, l.peers()...)
	tb.Cleanup(func() { dropImages(all) })
	var list []contestant
	for _, e := range all {
		c := of(e, func(int) float64 { return e.Time(tb, "pull", "-q", ngx) })
		c.setUp = func(int) { e.Run("rmi", "-f", ngx); settle(tb, e) } // else its layers are still there
		list = append(list, c)
	}
	l.interleave("pull", "pull ngx", "ms", l.reps(3), list...)

	if !l.Short {
		list = nil
		for _, e := range all {
			c := of(e, func(int) float64 { return e.Time(tb, "pull", "-q", big) })
			c.setUp = func(int) { e.Run("rmi", "-f", big); settle(tb, e) }
			c.peak = true
			if e.Name == "podman" {
				c.most = 1
			}
			list = append(list, c)
		}
		l.interleave("pull", "pull big", "ms", l.reps(2), list...)
	}

	list = nil
	dropImages(all)
	for _, e := range all {
		c := of(e, func(int) float64 {
			return engine.Millis(func() {
				err := clients(4, images.Apps, func(i int) error {
					_, err := try(e, "pull", "-q", fmt.Sprint(registry, "app", i))
					return err
				})
				if err != nil {
					tb.Fatal(err)
				}
			})
		})
		c.setUp = func(int) { dropImages([]*engine.Engine{e}); settle(tb, e) }
		c.peak = true
		if e.Name == "podman" {
			c.most = 1
		}
		list = append(list, c)
	}
	l.interleave("pull", "pull ten images that share a base, 4 at once", "ms", l.reps(2), list...)
}

// dropImages removes what pull brought; what is not there is not missed.
func dropImages(engines []*engine.Engine) {
	args := []string{"rmi", "-f", ngx, big}
	for i := range images.Apps {
		args = append(args, fmt.Sprint(registry, "app", i))
	}
	for _, e := range engines {
		e.Run(args...)
	}
}

// settle waits until an engine has done what it left for later, four seconds at
// most.
func settle(tb testing.TB, e *engine.Engine) {
	tb.Helper()
	quiet(tb, e, 40)
}

// removal is the removal of the big image, and how starts do meanwhile.
func removal(l *Lab, tb *stage.TB) {
	s := l.strake().Runc
	image := big
	if l.Short {
		image = ngx
	}
	all := append([]*engine.Engine{s}, l.withDaemon()...)
	l.have(tb, busybox, all...)
	tb.Cleanup(func() { dropImages(all) })
	once := func() float64 { return s.Time(tb, "run", "--rm", busybox, "true") }
	l.interleave("remove", "start otherwise", "ms", l.reps(15), of(s, func(int) float64 { return once() }))
	for i := range l.reps(3) {
		for _, e := range all {
			if e != s && i > 0 {
				continue
			}
			e.Must(tb, "pull", "-q", image)
			if i == 0 {
				settle(tb, e)
			}
			l.note("remove", "rmi big", e.Name, "ms", e.Time(tb, "rmi", image))
			if e == s {
				for range 5 {
					l.note("remove", "start while big is deleted", s.Name, "ms", once())
				}
			}
		}
	}
}
