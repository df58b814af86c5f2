package crash

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/strakehq/strake/sdk/mishap"
)

// report counts what was done.
type report struct {
	mu       sync.Mutex
	faults   int
	points   map[mishap.Point]int
	victims  map[string]int
	refusals map[string]int
	latest   []string // refusals of the present round
	seen     map[mishap.Point]bool
}

func newReport() *report {
	return &report{points: map[mishap.Point]int{}, victims: map[string]int{}, refusals: map[string]int{}, seen: map[mishap.Point]bool{}}
}

// note counts the faults of a round.
func (r *report) note(p mishap.Point, who string, with, random []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if who != "" {
		r.faults += 1 + len(with)
		r.points[p]++
		r.victims["at a point: "+who]++
		for _, v := range with {
			r.victims["at the same moment: "+v]++
		}
	}
	for _, v := range random {
		r.faults++
		r.victims["at random: "+v]++
	}
}

func (r *report) refuse(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = append(r.latest, text)
	text = regexp.MustCompile(`[0-9a-f]{12,64}|stk[0-9]+|-[0-9]+|pid [0-9]+|process [0-9]+`).ReplaceAllString(text, "…")
	r.refusals[text]++
}

// missing lists what a run that dealt every point has not done.
func (r *report) missing() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range mishap.All() {
		if r.points[p] == 0 {
			list = append(list, "the point never acted: "+string(p))
		}
	}
	for _, v := range randoms() {
		// What stands for several is counted by whom it hit.
		if !slices.Contains([]string{"drivers", "everything", "shims", "shim and runtime"}, v) && r.victims["at random: "+v] == 0 {
			list = append(list, "nobody was struck at random: "+v)
		}
	}
	return list
}

// short says how many faults there were, of which kind.
func (r *report) short() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults\n", r.faults)
	for _, v := range slices.Sorted(maps.Keys(r.victims)) {
		fmt.Fprintf(&b, "%6d %s\n", r.victims[v], v)
	}
	return b.String()
}

func (r *report) String() string {
	var b strings.Builder
	b.WriteString(r.short())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range mishap.All() {
		fmt.Fprintf(&b, "%6d %s\n", r.points[p], p)
	}
	for _, x := range slices.Sorted(maps.Keys(r.refusals)) {
		fmt.Fprintf(&b, "%6d refused: %s\n", r.refusals[x], x)
	}
	return b.String()
}
