package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/options"
	"github.com/strakehq/strake/sdk/storage"
)

// Repeats is how often the suites repeat a call that must be idempotent.
const Repeats = 5

// DriverCases are what every driver owes, whatever its kind.
func DriverCases[D driver.Driver](s Subject[D]) []Case {
	d := driverSuite[D]{s}
	return []Case{
		{"the driver says who it is, and always the same", d.info},
		{"the driver says who it is before it is configured", d.infoFirst},
		{"a capability is declared exactly when its calls work", d.capabilities},
		{"the schema of the options is a JSON Schema that names every option", d.schema},
		{"configuring again with equal values changes nothing", d.configureAgain},
		{"options that are no object are an invalid argument", d.badOptions},
		{"health is reported at once, and its watch ends with its context", d.health},
		{"many calls at once are answered", d.concurrency},
		{"a relaunched driver says who it is, and its health", d.crash},
	}
}

type driverSuite[D driver.Driver] struct{ s Subject[D] }

func (d driverSuite[D]) info(t *T) {
	first, err := d.s.Driver().Info(t.Context())
	t.NoError(err, "Info")
	if first.Name == "" {
		t.Errorf("the name is empty")
	}
	if first.Version == "" {
		t.Errorf("the version is empty")
	}
	for range Repeats {
		again, err := d.s.Driver().Info(t.Context())
		t.NoError(err, "Info again")
		if fmt.Sprint(again) != fmt.Sprint(first) {
			t.Fatalf("Info is %+v, then %+v", first, again)
		}
	}
}

func (d driverSuite[D]) fresh(t *T) D {
	if d.s.Fresh == nil {
		t.Skipf("there is no second driver to be had")
	}
	f, end, err := d.s.Fresh(t.Context())
	t.NoError(err, "make another driver")
	t.Cleanup(end)
	return f
}

func (d driverSuite[D]) infoFirst(t *T) {
	fresh, err := d.fresh(t).Info(t.Context())
	t.NoError(err, "Info before Configure")
	configured, err := d.s.Driver().Info(t.Context())
	t.NoError(err, "Info")
	if fmt.Sprint(fresh) != fmt.Sprint(configured) {
		t.Fatalf("Info is %+v before Configure and %+v after it", fresh, configured)
	}
}

func (d driverSuite[D]) capabilities(t *T) {
	info, err := d.s.Driver().Info(t.Context())
	t.NoError(err, "Info")
	if info.Kind == "" {
		t.Skipf("a Go value: the SDK declares what it implements")
	}
	if slices.Contains(info.Capabilities, "") {
		t.Errorf("an empty capability is declared")
	}
	_, applies := any(d.s.Driver()).(storage.Applier)
	_, diffs := any(d.s.Driver()).(storage.Differ)
	for c, has := range map[driver.Capability]bool{storage.CapApply: applies, storage.CapDiff: diffs} {
		if has != slices.Contains(info.Capabilities, c) {
			t.Errorf("capability %s: declared %v, implemented %v", c, !has, has)
		}
	}
}

func (d driverSuite[D]) schema(t *T) {
	info, err := d.s.Driver().Info(t.Context())
	t.NoError(err, "Info")
	t.NoError(options.Check(info.OptionsSchema, d.s.Config.Options), "check the options in use against the schema")
	err = options.Check(info.OptionsSchema, json.RawMessage(`{"no-such-option-exists": 1}`))
	t.ErrorIs(err, errdefs.ErrInvalidArgument, "an option that does not exist passes: set additionalProperties to false")
}

func (d driverSuite[D]) configureAgain(t *T) {
	for range Repeats {
		t.NoError(d.s.Driver().Configure(t.Context(), d.s.Config), "Configure again")
	}
}

func (d driverSuite[D]) badOptions(t *T) {
	f, c := d.fresh(t), d.s.Config
	c.StateDir, c.RunDir = t.TempDir(), t.TempDir()
	for _, bad := range []string{`[]`, `{`, `"text"`, `7`} {
		c.Options = json.RawMessage(bad)
		t.ErrorIs(f.Configure(t.Context(), c), errdefs.ErrInvalidArgument, "Configure with options "+bad)
	}
}

func (d driverSuite[D]) health(t *T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan driver.Health, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- d.s.Driver().WatchHealth(ctx, func(h driver.Health) {
			select {
			case reports <- h:
			default: // enough for this test
			}
		})
	}()
	select {
	case h := <-reports:
		checkHealth(t, h)
	case err := <-ended:
		t.Fatalf("the watch ended: %v", err)
	case <-t.Context().Done():
		t.Fatalf("no report")
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil && !errdefs.IsCanceled(err) {
			t.Errorf("the watch failed at its end: %w", err)
		}
	case <-t.Context().Done():
		t.Fatalf("the watch goes on after its context has ended")
	}
}

func checkHealth(t *T, h driver.Health) {
	switch h.Status {
	case driver.Ready:
	case driver.Degraded, driver.Failed:
		t.Logf("health: %s: %s", h.Status, h.Reason)
		if h.Reason == "" {
			t.Errorf("status %s without a reason", h.Status)
		}
	default:
		t.Errorf("unknown status %q", h.Status)
	}
}

func (d driverSuite[D]) concurrency(t *T) {
	const calls = 32
	errs := make(chan error, calls)
	var wait sync.WaitGroup
	for range calls {
		wait.Go(func() {
			if _, err := d.s.Driver().Info(t.Context()); err != nil {
				errs <- err
			}
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("Info beside others: %w", err)
	}
}

func (d driverSuite[D]) crash(t *T) {
	if d.s.Kill == nil {
		t.Skipf("the driver is not to be killed")
	}
	for range 2 {
		_, err := d.s.Crash(t).Info(t.Context())
		t.NoError(err, "Info after a relaunch")
	}
	d.health(t)
}
