package group

import (
	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// start is "run --rm busybox true".
func start(l *Lab, tb *stage.TB) {
	all := append(l.strake().All(), l.peers()...)
	l.have(tb, busybox, all...)
	runc := newBare(tb, l.strake().Runc, "runc", busybox, "true")
	crun := newBare(tb, l.strake().Runc, "crun", busybox, "true")
	for _, network := range []string{"bridge", "none"} {
		var list []contestant
		for _, e := range all {
			list = append(list, of(e, func(int) float64 {
				return e.Time(tb, "run", "--rm", "--network", network, busybox, "true")
			}))
		}
		// The floor is measured in the same turns.
		list = append(list,
			contestant{name: "bare runc", engine: l.strake().Runc, do: func(int) float64 { return runc.run(tb) }},
			contestant{name: "bare crun", engine: l.strake().Runc, do: func(int) float64 { return crun.run(tb) }})
		l.interleave("start", "run --rm busybox true, "+network, "ms", l.reps(20), list...)
	}
}

// execs is "exec true" in a container that runs.
func execs(l *Lab, tb *stage.TB) {
	all := append(l.strake().All(), l.peers()...)
	l.have(tb, busybox, all...)
	var list []contestant
	for _, e := range all {
		id := e.Must(tb, "run", "-d", busybox, "sleep", "100000")
		tb.Cleanup(func() { e.Must(tb, "rm", "-f", id) })
		list = append(list, of(e, func(int) float64 { return e.Time(tb, "exec", id, "true") }))
	}
	for _, runtime := range []string{"runc", "crun"} {
		b := newBare(tb, l.strake().Runc, runtime, busybox, "sleep", "100000")
		cmd := b.command("run", "-d", "--bundle", b.dir, "bare")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = devNull(tb), devNull(tb), devNull(tb)
		b.engine.MustRun(tb, cmd)
		tb.Cleanup(func() { b.engine.MustRun(tb, b.command("delete", "-f", "bare")) })
		list = append(list, contestant{name: "bare " + runtime, engine: b.engine, do: func(int) float64 {
			return engine.Millis(func() { b.engine.MustRun(tb, b.command("exec", "bare", "true")) })
		}})
	}
	l.interleave("exec", "exec true", "ms", l.reps(20), list...)
}

// stops is "stop" and "rm" of a process that obeys.
func stops(l *Lab, tb *stage.TB) {
	all := append(l.strake().All(), l.peers()...)
	l.have(tb, nginx, all...)
	ids := map[string]string{}
	var list []contestant
	for _, e := range all {
		c := of(e, func(int) float64 {
			return engine.Millis(func() { e.Must(tb, "stop", ids[e.Name]); e.Must(tb, "rm", ids[e.Name]) })
		})
		c.setUp = func(int) {
			ids[e.Name] = e.Must(tb, "run", "-d", "-p", "127.0.0.1::80", nginx)
			awaitHTTP(tb, e, ids[e.Name])
		}
		list = append(list, c)
	}
	l.interleave("stop", "stop and rm of nginx", "ms", l.reps(12), list...)
}
