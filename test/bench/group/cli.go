package group

import (
	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
	"github.com/strakehq/strake/test/testkit"
)

// cli is what the client alone takes. "version" makes one round trip.
func cli(l *Lab, tb *stage.TB) {
	all := append([]*engine.Engine{l.strake().Runc}, l.peers()...)
	for _, arg := range []string{"version", "--help"} {
		var list []contestant
		for _, e := range all {
			c := of(e, func(int) float64 { return e.Time(tb, arg) })
			list = append(list, c)
		}
		if arg == "version" {
			h := l.strake().Runc.Host
			list = append(list, contestant{name: "true (the floor)", do: func(int) float64 {
				return engine.Millis(func() { h.Run(h.Command("true")) })
			}}, contestant{name: "strake --version", do: func(int) float64 {
				return engine.Millis(func() { h.Run(h.Command(testkit.Bin("strake"), "--version")) })
			}})
		}
		l.interleave("cli", arg, "ms", l.reps(20), list...)
	}
}
