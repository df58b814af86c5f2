package driver

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/storage"
)

// hurried calls a method of a storage driver with a deadline that tests can
// wait for.
func (f *fixture) hurried(key storage.SnapshotKey, once bool) error {
	p := policy{method: "Stat", timeout: 100 * time.Millisecond, once: once}
	return do(f.t.Context(), f.instances[0], p, func(ctx context.Context, d storage.Driver) error {
		_, err := d.Stat(ctx, key)
		return err
	})
}

func TestADriverThatAnswersProbesAndNoCallsIsReplaced(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	first := f.pid()
	err := f.hurried("sleep-1h", false)
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), `storage driver "test": Stat: no answer within 100ms`) {
		t.Errorf("got %v", err)
	}
	eventually(t, "another process is ready", func() bool {
		d, err := f.Driver(t.Context(), "test")
		return err == nil && d.Pid != first && d.Status == "ready"
	})
	if err := syscall.Kill(first, 0); err == nil {
		t.Error("the slow process is still there")
	}
	if d, err := f.Driver(t.Context(), "test"); err != nil || d.Restarts != 1 {
		t.Errorf("%+v %v", d, err)
	}
}

// What cannot be repeated keeps a slow process alive until it is done, or until
// another call meets the same end.
func TestASlowDriverIsReplacedWhenThatCostsNothing(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		f := startGood(t, nil)
		first := f.pid()
		p := policy{method: "Stat", timeout: noLimit, once: true}
		ctx, giveUp := context.WithCancel(t.Context())
		began := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- do(ctx, f.instances[0], p, func(ctx context.Context, d storage.Driver) error {
				close(began)
				_, err := d.Stat(ctx, "sleep-1h")
				return err
			})
		}()
		<-began
		if err := f.hurried("sleep-1h", false); !errdefs.IsUnavailable(err) {
			t.Errorf("got %v", err)
		}
		d, err := f.Driver(t.Context(), "test")
		if err != nil || d.Status != hung || !strings.Contains(d.Reason, "Stat had no answer within 100ms") || d.Pid != first {
			t.Errorf("beside a call that cannot be repeated: %+v %v", d, err)
		}
		if again {
			if err := f.hurried("sleep-1h", false); !errdefs.IsUnavailable(err) {
				t.Errorf("got %v", err)
			}
			if err := <-ended; !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "died during Stat") {
				t.Errorf("the call that cannot be repeated: %v", err)
			}
		} else {
			giveUp()
			<-ended
		}
		eventually(t, "another process is ready", func() bool {
			d, err := f.Driver(t.Context(), "test")
			return err == nil && d.Pid != first && d.Status == "ready"
		})
		giveUp()
	}
}

func TestTheCallersOwnDeadlineIsToldWithTheDriversName(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.Storage().Stat(ctx, "sleep-1h")
	if !errdefs.IsDeadlineExceeded(err) || !strings.Contains(err.Error(), `storage driver "test": Stat: no answer within`) {
		t.Errorf("got %v", err)
	}
}

func TestADriverThatHangsWhileItIsConfiguredDoesNotKeepTheDaemonWaiting(t *testing.T) {
	t.Parallel()
	c := config.Driver{Driver: "test", Options: map[string]any{"mode": "hang"}}
	f := newFixture(t, c, func(_ *spec, tm *timing) { tm.launch, tm.configure = 2*time.Second, 100*time.Millisecond })
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := f.Driver(t.Context(), "test")
	if err != nil || d.Status != failed && d.Status != starting || !strings.Contains(d.Reason, "deadline") {
		t.Errorf("%+v %v", d, err)
	}
}

func TestWhoADriverIsIsToldWithoutIt(t *testing.T) {
	t.Parallel()
	f := startGood(t, nil)
	if err := syscall.Kill(f.pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if i, err := f.Storage().Info(ctx); err != nil || i.Name != "test" {
		t.Errorf("%+v %v", i, err)
	}
}
