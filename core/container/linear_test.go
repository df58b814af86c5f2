package container_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/containers"
)

const clients = 4

// search looks for an order of all steps of a history that the model allows, and in
// which every step lies between its verb's call and answer (after Wing and Gong, with
// what was tried remembered).
type search struct {
	history [clients][]verb
	tried   map[trial]bool
	most    int // verbs that could be explained at best
}

// trial is a state of the search.
type trial struct {
	model  model
	done   [clients]int8
	places [clients]place
}

func (s *search) explained(t trial) bool {
	total := 0
	for c := range t.done {
		total += int(t.done[c])
	}
	s.most = max(s.most, total)
	if total == s.length() {
		return true
	}
	if s.tried[t] {
		return false
	}
	s.tried[t] = true
	if m, ok := t.model.settle(); ok {
		after := t
		after.model = m
		if s.explained(after) {
			return true
		}
	}
	for c := range t.done {
		if int(t.done[c]) < len(s.history[c]) && s.may(t, c) && s.steps(t, c) {
			return true
		}
	}
	return false
}

// steps tries the next step of a client's verb.
func (s *search) steps(t trial, c int) bool {
	v := s.history[c][t.done[c]]
	for _, o := range step(t.model, t.places[c], v) {
		after := t
		after.model = o.model
		switch {
		case o.result == "":
			after.places[c] = o.place
		case o.result != v.got:
			continue
		default:
			after.done[c]++
			after.places[c] = place{}
		}
		if s.explained(after) {
			return true
		}
	}
	return false
}

// may says that no other verb, of those that are not over, was answered before this
// one was called.
func (s *search) may(t trial, c int) bool {
	v := s.history[c][t.done[c]]
	for other := range t.done {
		if int(t.done[other]) < len(s.history[other]) && s.history[other][t.done[other]].answer < v.call {
			return false
		}
	}
	return true
}

func (s *search) length() (n int) {
	for _, h := range s.history {
		n += len(h)
	}
	return n
}

func (s *search) String() string {
	var all []verb
	who := map[int64]int{}
	for c, h := range s.history {
		for _, v := range h {
			all, who[v.call] = append(all, v), c
		}
	}
	slices.SortFunc(all, func(a, b verb) int { return int(a.call - b.call) })
	var b strings.Builder
	for _, v := range all {
		fmt.Fprintf(&b, "client %d %s\n", who[v.call], v)
	}
	return b.String()
}

// explain says whether a container that was just made can have had a history.
func explain(h [clients][]verb) (*search, bool) {
	s := &search{history: h, tried: map[trial]bool{}}
	return s, s.explained(trial{model: model{status: apicontainer.StateCreated, name: "n0", shares: "0"}})
}

// Whatever verbs meet on one container, there is an order of them in which each did
// and was told what the table of transitions says.
func TestConflictingVerbsHaveAnOrder(t *testing.T) {
	rounds, end := uint64(200), time.Now().Add(5*time.Second)
	if os.Getenv("STRAKE_LONG") != "" {
		rounds, end = 20_000, end.Add(5*time.Minute)
	}
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // records are synced, and nobody cuts the power here
	}
	seed, err := strconv.ParseUint(os.Getenv("STRAKE_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("STRAKE_SEED=%d", seed)
	w := newWorld(t)
	w.run.Creating = func() { time.Sleep(time.Duration(rand.N(300)) * time.Microsecond) }
	w.disk.Removing, w.run.Dawdling = w.run.Creating, w.run.Creating
	count := map[string]int{}
	round := uint64(0)
	for ; round < rounds && time.Now().Before(end); round++ {
		s, ok := explain(w.round(t, rand.New(rand.NewPCG(seed, round))))
		if !ok {
			t.Fatalf("round %d of seed %d: no order explains this, %d of %d verbs at most:\n%s", round, seed, s.most, s.length(), s)
		}
		for _, h := range s.history {
			for _, v := range h {
				if v.name == "inspect" {
					v.got, _, _ = strings.Cut(v.got, " ")
				}
				count[v.name+" "+v.got]++
			}
		}
	}
	t.Logf("%d rounds, answers: %v", round, count)
}

// round has clients do verbs to a new container, and returns what they saw.
func (w *world) round(t *testing.T, r *rand.Rand) (h [clients][]verb) {
	t.Helper()
	prefix := fmt.Sprintf("r%x-", r.Uint64())
	id := w.create(t, prefix+"n0")
	if r.IntN(2) == 0 {
		h[0] = append(h[0], verb{name: "start"})
	}
	names := []string{"start", "start", "start", "stop", "restart", "kill", "pause", "pause", "unpause", "rename", "create", "exec", "update", "inspect", "inspect"}
	for c := range h {
		for range 4 + r.IntN(3) {
			name := names[r.IntN(len(names))]
			if r.IntN(20) == 0 {
				name = []string{"rm", "rm", "rm -f"}[r.IntN(3)]
			}
			v := verb{name: name}
			switch name {
			case "rename", "create":
				v.arg = "n" + strconv.Itoa(r.IntN(3))
			case "update":
				v.arg = strconv.Itoa(2 + r.IntN(1000))
			}
			h[c] = append(h[c], v)
		}
	}
	var clock atomic.Int64
	var all sync.WaitGroup
	pauses := [clients]*rand.Rand{}
	for c := range h {
		pauses[c] = rand.New(rand.NewPCG(r.Uint64(), 0))
	}
	for c := range h {
		all.Go(func() {
			for i := range h[c] {
				if d := pauses[c].IntN(400); d > 200 {
					time.Sleep(time.Duration(d) * time.Microsecond)
				} else {
					runtime.Gosched()
				}
				v := &h[c][i]
				v.call = clock.Add(1)
				v.got = w.do(t, id, prefix, *v)
				v.answer = clock.Add(1)
			}
		})
	}
	all.Wait()
	last := verb{name: "inspect", call: clock.Add(1)}
	last.got, last.answer = w.do(t, id, prefix, last), clock.Add(1)
	h[0] = append(h[0], last)
	for _, ref := range []string{id, prefix + "n0", prefix + "n1", prefix + "n2"} {
		if err := w.Remove(t.Context(), ref, containers.RemoveOptions{Force: true}); err != nil && classOf(err) != "not found" {
			t.Error(err)
		}
	}
	return h
}

// do does one verb and says what a client sees of its answer.
func (w *world) do(t *testing.T, id, prefix string, v verb) string {
	ctx := t.Context()
	var err error
	switch v.name {
	case "start":
		err = w.Start(ctx, id)
	case "stop":
		err = w.Stop(ctx, id, containers.StopOptions{})
	case "restart":
		err = w.Restart(ctx, id, containers.StopOptions{})
	case "kill":
		err = w.Kill(ctx, id, "")
	case "pause":
		err = w.Pause(ctx, id)
	case "unpause":
		err = w.Unpause(ctx, id)
	case "rename":
		err = w.Rename(ctx, id, prefix+v.arg)
	case "create":
		_, err = w.Create(ctx, prefix+v.arg, "", request())
	case "rm", "rm -f":
		err = w.Remove(ctx, id, containers.RemoveOptions{Force: v.name == "rm -f"})
	case "exec":
		_, err = w.ExecCreate(ctx, id, apicontainer.ExecCreateRequest{Cmd: []string{"true"}})
	case "update":
		n, _ := strconv.ParseInt(v.arg, 10, 64)
		_, err = w.Update(ctx, id, apicontainer.UpdateConfig{Resources: apicontainer.Resources{CPUShares: n}})
	case "inspect":
		i, inspectErr := w.Inspect(ctx, id, false)
		if err = inspectErr; err == nil {
			return fmt.Sprint(i.State.Status, " ", strings.TrimPrefix(i.Name, "/"+prefix), " ", i.HostConfig.CPUShares)
		}
	}
	return classOf(err)
}
