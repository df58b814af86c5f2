package container_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/runtime"
)

// A slow collection, after a crash, took a container for a leftover that its
// policy had started again meanwhile. The record said for ever that it ran.
func TestNothingIsStartedBeforeLeftoversAreCollected(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "phoenix", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy.Name = apicontainer.RestartPolicyAlways
	})
	w.start(t, id)
	w.shut(t)
	w.run.Exit(id, runtime.Exit{Code: 1, Known: true, At: time.Now()})
	w.run.Collecting = func() { time.Sleep(500 * time.Millisecond) } // longer than the pause before a restart
	w.boot(t)
	until(t, "it runs again", func() bool { return w.state(t, id).Status == apicontainer.StateRunning })
	if !w.run.Known(id) {
		t.Error("the runtime has lost a container that runs")
	}
}

// A restart policy may start a container between the look at its status and the
// lock: "stop the container before force remove" is no answer to a force remove.
func TestAForcedRemovalKillsWhatIsStartedMeanwhile(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "late")
	creating, proceed := make(chan struct{}), make(chan struct{})
	w.run.Creating = func() {
		close(creating)
		<-proceed
	}
	started, removed := make(chan error, 1), make(chan error, 1)
	go func() { started <- w.Start(t.Context(), id) }()
	<-creating
	go func() { removed <- w.Remove(t.Context(), id, containers.RemoveOptions{Force: true}) }()
	time.AfterFunc(50*time.Millisecond, func() { close(proceed) })
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if w.Exists(id) {
		t.Error("it is still there")
	}
}

// A container of --rm that ended while the storage driver was away stayed dead
// until the next daemon.
func TestARemovalThatFailedIsCompletedWhenTheStorageDriverReturns(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "brief", func(r *apicontainer.CreateRequest) { r.HostConfig.AutoRemove = true })
	w.start(t, id)
	w.disk.RemoveErr = errdefs.ErrUnavailable
	w.run.Exit(id, runtime.Exit{Code: 0, Known: true})
	until(t, "its removal fails", func() bool { return w.state(t, id).Status == apicontainer.StateDead })
	w.disk.RemoveErr = nil
	if err := w.RetryRemovals(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	until(t, "it is removed", func() bool { return !w.Exists(id) })
}

// A runtime driver that was not there when the daemon started left containers
// without their pids, and what belonged to nobody for ever.
func TestARecoveryThatFailedIsCompletedWhenTheRuntimeDriverReturns(t *testing.T) {
	w := newWorld(t)
	lives, ends, idle := w.create(t, "lives"), w.create(t, "ends"), w.create(t, "idle")
	for _, id := range []string{lives, ends} {
		w.start(t, id)
	}
	w.shut(t)
	if _, _, err := w.run.Create(t.Context(), runtime.CreateRequest{ID: runtime.ContainerID(idle)}); err != nil { // by a start that nobody heard of
		t.Fatal(err)
	}
	w.run.Exit(ends, runtime.Exit{Code: 3, Known: true})
	w.run.Away = errdefs.ErrUnavailable
	w.boot(t)
	if s := w.state(t, lives); s.Status != apicontainer.StateRunning || s.Pid != 0 {
		t.Fatalf("without the driver: %+v", s)
	}
	w.run.Away = nil
	if err := w.RecoverRuntime(t.Context(), "fake"); err != nil {
		t.Fatal(err)
	}
	if w.run.Known(idle) || !w.run.Known(lives) {
		t.Error("what belongs to nobody, and no more, is to be collected")
	}
	until(t, "the pid is known again", func() bool { return w.state(t, lives).Pid != 0 })
	until(t, "the exit is known", func() bool { return w.state(t, ends).ExitCode == 3 })
	if err := w.Remove(t.Context(), lives, containers.RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

// The shim of a start that nobody heard of wrote into the directory of a
// container of --rm while that was removed, which stayed dead for that.
func TestLeftoversAreCollectedBeforeRemovalsAreCompleted(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "brief", func(r *apicontainer.CreateRequest) { r.HostConfig.AutoRemove = true })
	w.shut(t)
	w.run.Collecting = func() {
		if _, err := os.Stat(filepath.Join(w.dir, "containers", id)); err != nil {
			t.Errorf("when the runtime is to collect: %v", err)
		}
	}
	w.boot(t)
	if w.Exists(id) {
		t.Error("it is still there")
	}
}

// A daemon that was killed during a removal left a container without a root.
func TestASnapshotIsRemovedOnlyWhenNoRecordNeedsIt(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "rooted")
	records := store.NewTable[json.RawMessage]("containers")
	w.disk.Removing = func() {
		err := w.db.View(func(tx *store.Tx) error {
			_, err := records.Get(tx, id)
			return err
		})
		if !errdefs.IsNotFound(err) {
			t.Errorf("its record, when its snapshot is removed: %v", err)
		}
	}
	if err := w.Remove(t.Context(), id, containers.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A daemon that ended during the pause before a restart had the next one start
// the container without counting that: it was started more often than its policy
// allows.
func TestARestartThatTheNextDaemonMakesIsCounted(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy = apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyOnFailure, MaximumRetryCount: 1}
	})
	w.start(t, id)
	w.shut(t)
	w.rewrite(t, id, func(run map[string]any) { run["Status"], run["ExitCode"] = "restarting", 1 })
	w.boot(t)
	until(t, "it runs again", func() bool { return w.state(t, id).Status == apicontainer.StateRunning })
	w.run.Exit(id, runtime.Exit{Code: 1, Known: true})
	until(t, "it is over", func() bool {
		i, err := w.Inspect(t.Context(), id, false)
		return err == nil && i.RestartCount == 1 && i.State.Status == apicontainer.StateExited
	})
}

// A restart that the daemon did not finish, and of which the next one learned
// only when the runtime driver was there again, left the container as it was.
func TestARestartThatIsTakenBackLateIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "phoenix", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy.Name = apicontainer.RestartPolicyAlways
	})
	w.start(t, id)
	w.shut(t)
	w.rewrite(t, id, func(run map[string]any) { run["First"] = false })
	w.run.Exit(id, runtime.Exit{Code: 1, Known: true})
	if _, err := w.run.Delete(t.Context(), runtime.ContainerID(id), true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.run.Create(t.Context(), runtime.CreateRequest{ID: runtime.ContainerID(id)}); err != nil {
		t.Fatal(err)
	}
	w.run.Away = errdefs.ErrUnavailable
	w.boot(t)
	w.run.Away = nil
	if err := w.RecoverRuntime(t.Context(), "fake"); err != nil {
		t.Fatal(err)
	}
	until(t, "it runs", func() bool { s := w.state(t, id); return s.Status == apicontainer.StateRunning && s.Pid != 0 })
}
