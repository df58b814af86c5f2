package crash

import (
	"math/rand"
	"slices"
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
	// random are those who are killed at moments of their own.
	random []moment
}

type moment struct {
	victim string
	after  time.Duration
}

// randoms are those who are killed at random moments.
func randoms() []string {
	return []string{
		"daemon", "storage", "runtime", "network", "registry", "drivers", "everything", "shim", "shims", "runc", "shim and runtime",
	}
}

// plan deals out points, each before any comes again.
type plan struct {
	rng   *rand.Rand
	deck  []mishap.Point
	all   []mishap.Point
	count int
}

func newPlan(seed int64, all []mishap.Point) *plan {
	return &plan{rng: rand.New(rand.NewSource(seed)), all: all}
}

func (p *plan) next() strike {
	if len(p.deck) == 0 {
		p.deck = slices.Clone(p.all)
		p.rng.Shuffle(len(p.deck), func(i, j int) { p.deck[i], p.deck[j] = p.deck[j], p.deck[i] })
	}
	s := strike{point: p.deck[0], hit: 1 + p.rng.Intn(3)}
	p.deck = p.deck[1:]
	if many(s.point) {
		s.hit = 1 + p.rng.Intn(40)
	}
	if p.rng.Intn(5) == 0 {
		for _, v := range []string{"daemon", "storage", "runtime", "network", "registry"} {
			if p.rng.Intn(2) == 0 {
				s.with = append(s.with, v)
			}
		}
	}
	r := randoms()
	for range 1 + p.rng.Intn(3) {
		s.random = append(s.random, moment{r[p.count%len(r)], time.Duration(p.rng.Intn(900)) * time.Millisecond})
		p.count++
	}
	return s
}

// many says that a point is hit often.
func many(p mishap.Point) bool {
	return slices.Contains([]mishap.Point{
		mishap.LayerEntry, mishap.ShimLogNoted, mishap.ShimLogWritten, mishap.ShimState, mishap.ShimStateAside,
	}, p)
}
