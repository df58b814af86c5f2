package group

import (
	"fmt"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// many is 50 containers by 8 clients at once, started and removed.
func many(l *Lab, tb *stage.TB) {
	s := l.strake()
	all := append([]*engine.Engine{s.Runc, s.Crun}, l.peers()...)
	l.have(tb, busybox, all...)
	n := l.size(50, 16)
	var list []contestant
	for _, e := range all {
		c := of(e, func(int) float64 {
			ms := engine.Millis(func() {
				err := clients(8, n, func(int) error {
					id, err := try(e, "run", "-d", busybox, "sleep", "100000")
					if err == nil {
						_, err = try(e, "rm", "-f", id)
					}
					return err
				})
				if err != nil {
					tb.Fatal(err)
				}
			})
			return float64(n) / ms * 1000
		})
		if e != s.Runc && e != s.Crun {
			c.most = 2 // they take half a minute each
		}
		list = append(list, c)
	}
	l.interleave("many", "containers started and removed by 8 clients", "1/s", l.reps(3), list...)
}

// loaded is one start more beside 500 containers with a port each. Only Strake is
// measured: the goal compares it with itself.
func loaded(l *Lab, tb *stage.TB) {
	s := l.strake()
	l.have(tb, busybox, s.Runc)
	n := l.size(500, 30)
	one := func(name string) {
		var list []contestant
		for _, e := range []*engine.Engine{s.Runc, s.Crun} {
			list = append(list, of(e, func(int) float64 { return startWithPort(tb, e) }))
		}
		l.interleave("loaded", name, "ms", l.reps(20), list...)
	}
	one("run --rm -p on an empty machine")
	ids := make([]string, n)
	tb.Cleanup(func() {
		err := clients(8, n, func(i int) error {
			if ids[i] == "" {
				return nil
			}
			_, err := try(s.Runc, "rm", "-f", ids[i])
			return err
		})
		if err != nil {
			tb.Error(err)
		}
	})
	ms := engine.Millis(func() {
		err := clients(8, n, func(i int) (err error) {
			ids[i], err = try(s.Crun, "run", "-d", "-p", fmt.Sprintf("127.0.0.1:%d:80", 20000+i), busybox, "sleep", "100000")
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	})
	l.note("loaded", "containers with a port started by 8 clients", s.Crun.Name, "1/s", float64(n)/ms*1000)
	one("run --rm -p beside 500 running")
}

func startWithPort(tb testing.TB, e *engine.Engine) float64 {
	return e.Time(tb, "run", "--rm", "-p", "127.0.0.1:19999:80", busybox, "true")
}
