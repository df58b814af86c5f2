package crash

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/test/testkit"
)

var (
	faults = flag.Int("faults", 0, "faults of the long form; 0: none")
	cuts   = flag.Int("cuts", 2, "power cuts")
	seed   = flag.Int64("seed", 1, "where the plan begins")
	remap  = flag.Bool("remap", false, "containers run in user namespaces")
	budget = flag.Duration("for", 24*time.Hour, "how long the long form may take; it ends with the round")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("STRAKE_BIN") == "" {
		os.Setenv("STRAKE_BIN", filepath.Join(testkit.Root(), ".build", "faults"))
	}
	os.Exit(m.Run())
}

// roundsPerWorld bounds a world's age, for its logs grow.
const roundsPerWorld = 40

// settled is how long it may take until all is well again: a container that
// comes back by its policy, a driver that is launched again, a shim whose client
// never came.
const settled = 25 * time.Second

// fullRun is from how many faults on a run goes on until every point was dealt.
const fullRun = 1000

// TestNothingIsLost is the long form of the crash matrix: make crash.
func TestNothingIsLost(t *testing.T) {
	if *faults == 0 {
		t.Skip("the long form: make crash")
	}
	t.Logf("seed %d", *seed)
	r, p := newReport(), newPlan(*seed, mishap.All())
	began := time.Now()
	defer func() { t.Logf("in %s: %s", time.Since(began).Round(time.Second), r) }()
	goesOn := func() bool {
		return (r.faults < *faults || *faults >= fullRun && !p.dealt()) && time.Since(began) < *budget
	}
	for n := 0; goesOn() && !t.Failed(); {
		t.Run("world", func(t *testing.T) {
			var opts []testkit.Option
			if *remap {
				opts = []testkit.Option{testkit.WithSubordinateIDs(), testkit.WithConfig("userns_remap = \"" + testkit.SubordinateUser + "\"\n")}
			}
			w := newWorld(t, opts...)
			defer w.count(r)
			for range roundsPerWorld {
				s := p.next()
				acted := r.points[s.point]
				w.round(n, s, settled, r)
				if r.points[s.point] == acted {
					p.missed(s.point)
				}
				if n++; !goesOn() {
					break
				}
			}
		})
	}
	if r.faults >= *faults { // or the budget has ended it
		for _, point := range mishap.All() {
			if !r.seen[point] {
				t.Errorf("the load never comes to the point %s", point)
			}
		}
	}
	if p.dealt() {
		for _, x := range r.missing() {
			t.Error(x)
		}
	}
}

// TestACrashAtAPointLosesNothing is the short form: one point in each process.
func TestACrashAtAPointLosesNothing(t *testing.T) {
	r := newReport()
	w := newWorld(t)
	for n, s := range []strike{
		{point: "store.containers.after", hit: 4},
		{point: mishap.BridgeRules, hit: 2},
		{point: mishap.BridgeLink, hit: 2},
		{point: mishap.ShimExit, hit: 2},
		{point: mishap.ShimNamed, hit: 1, with: []string{"runtime"}},
		{point: mishap.SnapshotNamed, hit: 5, with: []string{"daemon"}},
		{point: mishap.BridgeLinked, hit: 2, stop: 300 * time.Millisecond},
	} {
		w.round(n, s, settled, r)
		if r.points[s.point] == 0 {
			t.Errorf("%s did not act", s.point)
		}
	}
	t.Log(r.short())
}
