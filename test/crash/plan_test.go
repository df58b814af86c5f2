package crash

import (
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/sdk/mishap"
)

// strike is what is done to a world in one round. It follows from the seed.
type strike struct {
	// point acts on its hit-th hit.
	point mishap.Point
	hit   int
	// with lists who gets the same at the same moment: "daemon" or a kind of
	// driver.
	with []string
	// stop is how long the point stops its process; 0: it kills it.
	stop time.Duration
	// random are those who are struck at moments of their own.
	random []moment
}

type moment struct {
	victim string
	after  time.Duration
	stop   time.Duration // as in strike
}

// randoms are those who are struck at random moments.
func randoms() []string {
	return []string{
		"daemon", "storage", "runtime", "network", "registry", "drivers", "everything", "shim", "shims", "runc", "shim and runtime",
		"storage" + stopped, "runtime" + stopped, "network" + stopped, "registry" + stopped,
	}
}

// stopped ends the names of those who are not killed.
const stopped = " stopped"

// aMinute is longer than any driver may leave the daemon without an answer.
const aMinute = time.Minute

// plan deals out points, each before any comes again. One that did not act is
// dealt twice more, for its first hit.
type plan struct {
	rng    *rand.Rand
	deck   []mishap.Point
	all    []mishap.Point
	late   map[mishap.Point]int // how often one of the deck did not act
	decks  int                  // begun
	count  int
	minute map[string]bool // who has been stopped for a minute
}

func newPlan(seed int64, all []mishap.Point) *plan {
	return &plan{rng: rand.New(rand.NewSource(seed)), all: all, late: map[mishap.Point]int{}, minute: map[string]bool{}}
}

// missed has a point that did not act dealt again.
func (p *plan) missed(point mishap.Point) {
	const again = 2
	if p.late[point]++; p.late[point] <= again {
		p.deck = append(p.deck, point)
	}
}

// dealt says that every point was dealt, as often as it may be.
func (p *plan) dealt() bool { return p.decks > 1 || p.decks == 1 && len(p.deck) == 0 }

func (p *plan) next() strike {
	if len(p.deck) == 0 {
		clear(p.late)
		p.decks++
		p.deck = slices.Clone(p.all)
		p.rng.Shuffle(len(p.deck), func(i, j int) { p.deck[i], p.deck[j] = p.deck[j], p.deck[i] })
	}
	s := strike{point: p.deck[0], hit: 1 + p.rng.Intn(3)}
	p.deck = p.deck[1:]
	if many(s.point) {
		s.hit = 1 + p.rng.Intn(40)
	}
	if p.late[s.point] > 0 {
		s.hit = 1
	}
	switch {
	case inDriver(s.point) && p.rng.Intn(4) == 0:
		s.stop = p.pause("point")
	case p.rng.Intn(5) == 0:
		for _, v := range []string{"daemon", "storage", "runtime", "network", "registry"} {
			if p.rng.Intn(2) == 0 {
				s.with = append(s.with, v)
			}
		}
	}
	r := randoms()
	for range 1 + p.rng.Intn(3) {
		m := moment{victim: r[p.count%len(r)], after: time.Duration(p.rng.Intn(900)) * time.Millisecond}
		if kind, ok := strings.CutSuffix(m.victim, stopped); ok {
			m.victim, m.stop = kind, p.pause(kind)
		}
		s.random = append(s.random, m)
		p.count++
	}
	return s
}

// pause is how long somebody is stopped: the first time a minute, then mostly
// for less than anybody notices, sometimes for about as long as it takes to be
// replaced.
func (p *plan) pause(who string) time.Duration {
	most := 3 * time.Second
	switch {
	case !p.minute[who]:
		p.minute[who] = true
		return aMinute
	case p.rng.Intn(4) == 0:
		most = 20 * time.Second
	}
	return time.Duration(1 + p.rng.Int63n(int64(most)))
}

// inDriver says that a driver comes to a point.
func inDriver(p mishap.Point) bool {
	return slices.ContainsFunc([]string{"serve.", "overlay.", "bridge.", "runc."}, func(prefix string) bool {
		return strings.HasPrefix(string(p), prefix)
	})
}

// many says that a point is hit often.
func many(p mishap.Point) bool {
	return slices.Contains([]mishap.Point{
		mishap.LayerEntry, mishap.ShimLogNoted, mishap.ShimLogWritten, mishap.ShimState, mishap.ShimStateAside,
	}, p)
}

func TestAPointThatNeverActsIsDealtAgainAndFailsTheRun(t *testing.T) {
	acting, idle := mishap.All()[0], mishap.All()[1]
	p, r := newPlan(1, []mishap.Point{acting, idle}), newReport()
	dealt := map[mishap.Point]int{}
	for !p.dealt() {
		s := p.next()
		if dealt[s.point]++; s.point == idle {
			p.missed(idle)
		} else {
			r.note(acting, "straked", nil, []string{"daemon"})
		}
		if dealt[s.point] > 1 && s.hit != 1 {
			t.Errorf("dealt again for hit %d", s.hit)
		}
	}
	if dealt[acting] != 1 || dealt[idle] != 3 {
		t.Errorf("dealt: %v", dealt)
	}
	missing := strings.Join(r.missing(), "\n") + "\n"
	for want, is := range map[string]bool{
		": " + string(acting): false, ": " + string(idle): true, "random: daemon": false, "random: storage" + stopped: true,
	} {
		if strings.Contains(missing, want+"\n") != is {
			t.Errorf("%q among what is missing: want %v", want, is)
		}
	}
}
