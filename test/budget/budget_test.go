package budget

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// each is how often an operation is done under the count.
const each = 2

// settled is how long nothing has happened when an operation's deferred work
// counts as done.
const settled = 400 * time.Millisecond

func TestOperationsKeepTheirBudgets(t *testing.T) {
	t.Parallel()
	tr := trace{filepath.Join(t.TempDir(), "strace"), traced}
	h := testkit.Start(t, tr.option())
	h.MustStrake("pull", "-q", "busybox")
	h.MustStrake("pull", "-q", "nginx")
	b := bench{h, tr, budgets()}
	b.check(t, run, func(int) { h.MustStrake("run", "--rm", "busybox", "true") })

	ids := make([]string, each+1)
	b.check(t, serve, func(i int) { ids[i] = h.MustStrake("run", "-d", "-p", "127.0.0.1::80", "nginx") })
	b.check(t, execIn, func(i int) { h.MustStrake("exec", ids[i], "true") })
	b.check(t, stop, func(i int) { h.MustStrake("stop", ids[i]) })
	b.check(t, remove, func(i int) { h.MustStrake("rm", ids[i]) })
}

type bench struct {
	h       *testkit.Host
	trace   trace
	budgets []budget
}

// check does the operation once, so that what is made once is there, and then
// under the count.
func (b bench) check(t *testing.T, op operation, do func(i int)) {
	t.Helper()
	do(each)
	seen, calls := b.once(t, func() {
		for i := range each {
			do(i)
		}
	})
	b.within(t, op, map[measure][]string{
		processes: seen.processes, fsyncs: seen.fsyncs, transactions: seen.transactions,
		rpcs: calls, mounts: seen.mounts, netlinks: seen.netlink,
	}, each)
}

// within fails the test for each measure that is over its budget.
func (b bench) within(t *testing.T, op operation, seen map[measure][]string, times int) {
	t.Helper()
	for of, events := range seen {
		most := b.max(op, of)
		t.Logf("%s: %d %s in %d, at most %d each", op, len(events), of, times, most)
		if len(events) > most*times {
			t.Errorf("%s takes more %s than the %d of its budget (test/budget/table.go): %d in %d:\n%s",
				op, of, most, len(events), times, strings.Join(events, "\n"))
		}
	}
}

func (b bench) max(op operation, of measure) int {
	i := slices.IndexFunc(b.budgets, func(x budget) bool { return x.op == op && x.of == of })
	return b.budgets[i].max // a measure without a budget is a fault of the test
}

// once counts what do makes the machine do, and the daemon's calls to drivers.
func (b bench) once(t *testing.T, do func()) (seen *tally, calls []string) {
	t.Helper()
	var before map[string]int
	seen, err := b.trace.during(settled, func() { before = b.calls(t); do() })
	if err != nil {
		t.Fatal(err)
	}
	for method, n := range b.calls(t) {
		for range n - before[method] {
			calls = append(calls, method)
		}
	}
	slices.Sort(calls)
	return seen, calls
}

// calls are the daemon's own counters, by driver and method.
func (b bench) calls(t *testing.T) map[string]int {
	t.Helper()
	resp, err := b.h.API().Get("http://strake/strake/v1/drivers")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list []struct {
		Kind  string
		Calls map[string]int
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for _, d := range list {
		for method, n := range d.Calls {
			by[fmt.Sprintf("%s %s", d.Kind, method)] += n
		}
	}
	return by
}
