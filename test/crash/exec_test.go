package crash

import (
	"testing"

	"github.com/strakehq/strake/sdk/mishap"
)

// A shim that died when it had reaped an exec and not yet stored how that ended
// took it along, if the exec had ended sooner than the driver could hold it.
func TestTheEndOfAnExecIsKnownThoughItsShimDiesOverIt(t *testing.T) {
	w := newWorld(t)
	w.must(w.api.delete("/containers/again?force=1")) // it ends now and then
	for n := range 10 {
		var made struct{ ID string }
		if err := w.api.post("/containers/count/exec", object{"Cmd": []string{"sh", "-c", "exit 9"}}).into(&made); err != nil {
			t.Fatal(err)
		}
		w.arm(strike{point: mishap.ShimDrained, hit: 1})
		a := w.api.post("/exec/"+made.ID+"/start", object{"Detach": true})
		var e struct{ ExitCode *int }
		w.soon(func() bool {
			return w.api.get("/exec/"+made.ID+"/json").into(&e) == nil && e.ExitCode != nil && w.fired(mishap.ShimDrained)
		})
		if _, who := w.disarm(mishap.ShimDrained); e.ExitCode == nil || *e.ExitCode != 9 || who != "strake-shim" {
			t.Errorf("%d: %s, hit %q, exit code:", n, a, who)
			if e.ExitCode != nil {
				t.Error(*e.ExitCode)
			}
		}
	}
}
