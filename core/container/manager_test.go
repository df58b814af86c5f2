package container_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	apievents "github.com/moby/moby/api/types/events"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/core/container/containertest"
	"github.com/strakehq/strake/core/events"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/core/volume"
	"github.com/strakehq/strake/sdk/runtime"
)

// world is a manager and what it stands on.
type world struct {
	ids *user.IdentityMapping
	*container.Manager
	run    *containertest.Runtime
	disk   *containertest.Storage
	net    *containertest.Networks
	vol    *volume.Manager
	bus    *events.Bus
	dir    string
	db     *store.Store
	closed bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		dir: dir, net: &containertest.Networks{}, bus: &events.Bus{},
		run: containertest.NewRuntime(dir), disk: &containertest.Storage{Dir: filepath.Join(dir, "snapshots")},
	}
	w.boot(t)
	t.Cleanup(func() { w.shut(t) })
	return w
}

// boot starts a manager on what a former one left.
func (w *world) boot(t *testing.T) {
	t.Helper()
	db, err := store.Open(filepath.Join(w.dir, "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	if w.vol, err = volume.New(volume.Config{Store: db, Dir: filepath.Join(w.dir, "volumes"), Events: w.bus}); err != nil {
		t.Fatal(err)
	}
	w.Manager, err = container.New(container.Config{
		Store: db, StateDir: w.dir, RunDir: filepath.Join(w.dir, "run"), Events: w.bus, Volumes: w.vol, Networks: w.net,
		Drivers: containertest.Drivers{Store: w.disk, Run: w.run}, StorageDriver: "fake", IDs: w.ids,
		Images: containertest.Images{"busybox": {
			ID: digest.FromString("busybox"), ChainID: "sha256:chain",
			Config: apicontainer.Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.closed = false
}

func (w *world) shut(t *testing.T) {
	t.Helper()
	if w.closed {
		return
	}
	w.closed = true
	if err := errors.Join(w.Close(), w.db.Close()); err != nil {
		t.Error(err)
	}
}

// create makes a container with an optional change to the request.
func (w *world) create(t *testing.T, name string, edit ...func(*apicontainer.CreateRequest)) string {
	t.Helper()
	r := request(edit...)
	resp, err := w.Create(t.Context(), name, "", r)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

func request(edit ...func(*apicontainer.CreateRequest)) apicontainer.CreateRequest {
	r := apicontainer.CreateRequest{Config: &apicontainer.Config{Image: "busybox"}, HostConfig: &apicontainer.HostConfig{}}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func (w *world) start(t *testing.T, id string) {
	t.Helper()
	if err := w.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func (w *world) state(t *testing.T, id string) *apicontainer.State {
	t.Helper()
	i, err := w.Inspect(t.Context(), id, false)
	if err != nil {
		t.Fatal(err)
	}
	return i.State
}

// wait waits for an exit or a removal.
func (w *world) wait(t *testing.T, id string, c apicontainer.WaitCondition) func() apicontainer.WaitResponse {
	t.Helper()
	f, err := w.Wait(t.Context(), id, c)
	if err != nil {
		t.Fatal(err)
	}
	return func() apicontainer.WaitResponse {
		t.Helper()
		r, err := f()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// until fails the test when f does not hold within a generous time.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestALifeFromCreateToRemove(t *testing.T) {
	w := newWorld(t)
	past, err := w.bus.Subscribe(t.Context(), time.Unix(1, 0), time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	id := w.create(t, "web", func(r *apicontainer.CreateRequest) { r.Labels = map[string]string{"tier": "front"} })
	if s := w.state(t, id); s.Status != apicontainer.StateCreated || s.Running {
		t.Errorf("created: %+v", s)
	}
	w.start(t, "web")
	if s := w.state(t, id[:12]); !s.Running || s.Pid != os.Getpid() {
		t.Errorf("running: %+v", s)
	}
	if err := w.Start(t.Context(), id); !errdefs.IsNotModified(err) {
		t.Errorf("second start: %v", err)
	}
	exit := w.wait(t, id, apicontainer.WaitConditionNotRunning)
	w.run.Exit(id, runtime.Exit{Code: 3, Known: true})
	if r := exit(); r.StatusCode != 3 {
		t.Errorf("exit code %d", r.StatusCode)
	}
	if w.net.Attached(id) {
		t.Error("the network is not left when the exit is told")
	}
	until(t, "the runtime forgets the process", func() bool { return !w.run.Known(id) })
	gone := w.wait(t, id, apicontainer.WaitConditionRemoved)
	if err := w.Remove(t.Context(), id, containers.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	gone()
	if _, err := w.Inspect(t.Context(), id, false); !errdefs.IsNotFound(err) {
		t.Errorf("after removal: %v", err)
	}
	if w.disk.Has(container.SnapshotKey(id)) {
		t.Error("the snapshot is left")
	}
	if _, err := os.Stat(filepath.Join(w.dir, "containers", id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	var got []string
	for e, err := range past {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(e.Action))
		if e.Action == apievents.ActionDie && (e.Actor.Attributes["exitCode"] != "3" || e.Actor.Attributes["tier"] != "front" || e.Actor.Attributes["name"] != "web") {
			t.Errorf("die: %v", e.Actor.Attributes)
		}
		if e.Action == apievents.ActionDestroy {
			break
		}
	}
	if want := []string{"create", "start", "die", "destroy"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestAutomaticRemovalFollowsTheExit(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "", func(r *apicontainer.CreateRequest) { r.HostConfig.AutoRemove = true })
	removed := w.wait(t, id, apicontainer.WaitConditionRemoved)
	w.start(t, id)
	w.run.Exit(id, runtime.Exit{Code: 7, Known: true})
	if r := removed(); r.StatusCode != 7 {
		t.Errorf("status %d", r.StatusCode)
	}
	if w.run.Known(id) || w.net.Attached(id) || w.disk.Has(container.SnapshotKey(id)) || w.Exists(id) {
		t.Error("something is left")
	}
}

func TestAFailedStartLeavesNothingAndSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(*world)
		code int
	}{
		{"no such command", func(w *world) { w.run.CreateErr = errdefs.ErrNotFound }, 127},
		{"not executable", func(w *world) { w.run.StartErr = errdefs.ErrPermissionDenied }, 126},
		{"port in use", func(w *world) { w.net.AttachErr = errdefs.ErrConflict }, 128},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.create(t, "xx")
			c.fail(w)
			if err := w.Start(t.Context(), id); err == nil {
				t.Fatal("it started")
			}
			if s := w.state(t, id); s.Status != apicontainer.StateCreated || s.ExitCode != c.code || s.Error == "" {
				t.Errorf("state %+v", s)
			}
			if w.run.Known(id) || w.net.Attached(id) {
				t.Error("something is left")
			}
			w.run.CreateErr, w.run.StartErr, w.net.AttachErr = nil, nil, nil
			w.start(t, id)
		})
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.disk.PrepareErr = errdefs.ErrResourceExhausted
	if _, err := w.Create(t.Context(), "xx", "", request()); !errdefs.IsResourceExhausted(err) {
		t.Fatalf("got %v", err)
	}
	w.disk.PrepareErr = nil
	w.create(t, "xx") // the name is free again
	list, err := w.List(t.Context(), containers.ListOptions{All: true})
	if err != nil || len(list) != 1 {
		t.Errorf("%d containers, %v", len(list), err)
	}
}

func TestStopAsksThenKills(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "polite")
	w.start(t, id)
	if err := w.Stop(t.Context(), id, containers.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := w.state(t, id); s.ExitCode != 143 {
		t.Errorf("stopped by SIGTERM: %+v", s)
	}
	if err := w.Stop(t.Context(), id, containers.StopOptions{}); !errdefs.IsNotModified(err) {
		t.Errorf("second stop: %v", err)
	}
	w.start(t, id)
	now := 0
	if err := w.Stop(t.Context(), id, containers.StopOptions{Signal: "SIGUSR1", Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	if s := w.state(t, id); s.ExitCode != 137 {
		t.Errorf("killed: %+v", s)
	}
}

func TestAHungDriverCostsOnlyItsOwnContainer(t *testing.T) {
	w := newWorld(t)
	hung, fine := w.create(t, "hung"), w.create(t, "fine")
	w.start(t, hung)
	w.run.Block = make(chan struct{})
	killed := make(chan error, 1)
	go func() { killed <- w.Kill(context.WithoutCancel(t.Context()), hung, "") }()
	until(t, "the driver is asked", func() bool { return slices.Contains(w.run.Calls(), "kill -9 "+hung) })
	if _, err := w.List(t.Context(), containers.ListOptions{All: true}); err != nil {
		t.Error(err)
	}
	if s := w.state(t, hung); !s.Running {
		t.Errorf("hung: %+v", s)
	}
	w.start(t, fine)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Pause(ctx, hung); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a busy container ends with its client: %v", err)
	}
	close(w.run.Block)
	if err := <-killed; err != nil {
		t.Error(err)
	}
}

func TestRestartPoliciesBringContainersBackUntilStopped(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "phoenix", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy.Name = apicontainer.RestartPolicyAlways
	})
	w.start(t, id)
	for n := 1; n <= 2; n++ {
		until(t, "it runs", func() bool { return w.state(t, id).Status == apicontainer.StateRunning })
		w.run.Exit(id, runtime.Exit{Code: 1, Known: true})
		until(t, "it is restarted", func() bool {
			i, err := w.Inspect(t.Context(), id, false)
			return err == nil && i.RestartCount == n && i.State.Status == apicontainer.StateRunning
		})
	}
	if err := w.Stop(t.Context(), id, containers.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := w.state(t, id); s.Status != apicontainer.StateExited {
		t.Errorf("stopped by hand: %+v", s)
	}
}

// Drivers repeat exits. One of the former run, that is later than the present run's
// start because the clock was set back in between, was taken for the present's.
func TestAnExitThatIsRepeatedEndsNoOtherRun(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "phoenix", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy.Name = apicontainer.RestartPolicyAlways
	})
	w.start(t, id)
	old := runtime.Exit{Code: 1, Known: true, At: time.Now().Add(time.Hour)}
	w.run.Exit(id, old)
	until(t, "it is restarted", func() bool {
		i, err := w.Inspect(t.Context(), id, false)
		return err == nil && i.RestartCount == 1 && i.State.Status == apicontainer.StateRunning
	})
	w.run.Repeat(id, old)
	time.Sleep(200 * time.Millisecond)
	if i, err := w.Inspect(t.Context(), id, false); err != nil || i.RestartCount != 1 || i.State.Status != apicontainer.StateRunning {
		t.Errorf("%v, restarted %d times: %v", i.State.Status, i.RestartCount, err)
	}
	w.run.Exit(id, runtime.Exit{Code: 2, Known: true})
	until(t, "its own exit counts", func() bool {
		i, err := w.Inspect(t.Context(), id, false)
		return err == nil && i.RestartCount == 2
	})
}

func TestOnFailureStopsAtItsCount(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "", func(r *apicontainer.CreateRequest) {
		r.HostConfig.RestartPolicy = apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyOnFailure, MaximumRetryCount: 1}
	})
	w.start(t, id)
	w.run.Exit(id, runtime.Exit{Code: 1, Known: true})
	until(t, "it is restarted", func() bool { return w.state(t, id).Status == apicontainer.StateRunning && w.run.Known(id) })
	until(t, "it runs again", func() bool {
		w.run.Exit(id, runtime.Exit{Code: 1, Known: true})
		return w.state(t, id).Status == apicontainer.StateExited
	})
}

func TestTheNextDaemonLearnsTheTruth(t *testing.T) {
	w := newWorld(t)
	on, ended, lost := w.create(t, "on"), w.create(t, "ended"), w.create(t, "lost")
	made := w.create(t, "made")
	brief := w.create(t, "brief", func(r *apicontainer.CreateRequest) { r.HostConfig.AutoRemove = true })
	for _, id := range []string{on, ended, lost, brief} {
		w.start(t, id)
	}
	begun := w.create(t, "begun")
	if _, err := w.net.Attach(t.Context(), container.NetworkRequest{ID: begun}); err != nil {
		t.Fatal(err)
	}
	w.shut(t)
	w.run.Exit(ended, runtime.Exit{Code: 5, Known: true})
	w.run.Exit(brief, runtime.Exit{Code: 0, Known: true})
	if _, err := w.run.Delete(t.Context(), runtime.ContainerID(lost), true); err != nil {
		t.Fatal(err)
	}
	w.boot(t)
	if s := w.state(t, on); !s.Running || s.Pid != os.Getpid() {
		t.Errorf("runs on: %+v", s)
	}
	if s := w.state(t, ended); s.Status != apicontainer.StateExited || s.ExitCode != 5 {
		t.Errorf("ended meanwhile: %+v", s)
	}
	if s := w.state(t, lost); s.Status != apicontainer.StateExited || s.ExitCode != 255 {
		t.Errorf("lost: %+v", s)
	}
	if s := w.state(t, made); s.Status != apicontainer.StateCreated {
		t.Errorf("made: %+v", s)
	}
	if w.net.Attached(begun) {
		t.Error("the network of a start that was not finished is left")
	}
	if w.Exists(brief) {
		t.Error("a container to be removed by itself is left")
	}
	exit := w.wait(t, on, "")
	w.run.Exit(on, runtime.Exit{Code: 9, Known: true})
	if r := exit(); r.StatusCode != 9 {
		t.Errorf("exit under the next daemon: %d", r.StatusCode)
	}
}

func TestHalfMadeContainersAreRemoved(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "half")
	w.shut(t)
	if err := w.disk.Remove(t.Context(), container.SnapshotKey(id)); err != nil {
		t.Fatal(err)
	}
	w.boot(t)
	if w.Exists(id) {
		t.Error("it is left")
	}
}

func TestNamesAreUniqueAndChecked(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "one")
	_, err := w.Create(t.Context(), "/one", "", request())
	want := `Conflict. The container name "/one" is already in use by container "` + id + `".`
	if !errdefs.IsConflict(err) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Create(t.Context(), "a b", "", request()); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
	if err := w.Rename(t.Context(), "one", "two"); err != nil {
		t.Fatal(err)
	}
	w.create(t, "one")
	i, err := w.Inspect(t.Context(), "two", false)
	if err != nil || i.ID != id {
		t.Errorf("renamed: %v", err)
	}
	if _, err := w.Inspect(t.Context(), "nobody", false); err == nil || err.Error() != "No such container: nobody" {
		t.Errorf("got %v", err)
	}
}

// rewrite changes a container's record while no daemon runs.
func (w *world) rewrite(t *testing.T, id string, edit func(run map[string]any)) {
	t.Helper()
	db, err := store.Open(filepath.Join(w.dir, "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	table := store.NewTable[map[string]any]("containers")
	err = db.Update(func(tx *store.Tx) error {
		r, err := table.Get(tx, id)
		if err != nil {
			return err
		}
		run, ok := r["Run"].(map[string]any)
		if !ok {
			t.Fatal("the record has no run")
		}
		edit(run)
		return table.Put(tx, id, r)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAfterARebootNothingRunsButWhatPoliciesWant(t *testing.T) {
	w := newWorld(t)
	plain := w.create(t, "plain")
	brief := w.create(t, "brief", func(r *apicontainer.CreateRequest) { r.HostConfig.AutoRemove = true })
	always := w.create(t, "always", func(r *apicontainer.CreateRequest) { r.HostConfig.RestartPolicy.Name = "unless-stopped" })
	stopped := w.create(t, "stopped", func(r *apicontainer.CreateRequest) { r.HostConfig.RestartPolicy.Name = "unless-stopped" })
	ids := []string{plain, brief, always, stopped}
	for _, id := range ids {
		w.start(t, id)
	}
	if err := w.Stop(t.Context(), stopped, containers.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	w.shut(t)
	for _, id := range ids {
		w.rewrite(t, id, func(run map[string]any) { run["Boot"] = "another" })
		if _, err := w.run.Delete(t.Context(), runtime.ContainerID(id), true); err != nil {
			t.Fatal(err)
		}
	}
	w.boot(t)
	if s := w.state(t, plain); s.Status != apicontainer.StateExited || s.ExitCode != 255 {
		t.Errorf("without a policy: %+v", s)
	}
	if w.Exists(brief) {
		t.Error("a container to be removed by itself is left")
	}
	until(t, "the policy starts it", func() bool { return w.state(t, always).Status == apicontainer.StateRunning })
	if s := w.state(t, stopped); s.Status != apicontainer.StateExited {
		t.Errorf("stopped by hand before: %+v", s)
	}
}

func TestAStartThatTheDaemonDidNotFinishIsTakenBack(t *testing.T) {
	w := newWorld(t)
	id := w.create(t, "half")
	w.start(t, id)
	w.run.Exit(id, runtime.Exit{Known: true})
	until(t, "it is over", func() bool { return !w.run.Known(id) })
	w.shut(t)
	// As it is when the daemon dies between create and start: the record is
	// ahead of the process.
	if _, _, err := w.run.Create(t.Context(), runtime.CreateRequest{ID: runtime.ContainerID(id)}); err != nil {
		t.Fatal(err)
	}
	for first, want := range map[bool]apicontainer.ContainerState{false: apicontainer.StateExited, true: apicontainer.StateCreated} {
		w.rewrite(t, id, func(run map[string]any) { run["Status"], run["First"] = "running", first })
		w.boot(t)
		s := w.state(t, id)
		if s.Status != want || s.ExitCode != 128 || s.Error == "" || first != (s.StartedAt == "0001-01-01T00:00:00Z") {
			t.Errorf("the first start: %v: %+v", first, s)
		}
		if w.run.Known(id) {
			t.Error("the process is left")
		}
		w.shut(t)
		if _, _, err := w.run.Create(t.Context(), runtime.CreateRequest{ID: runtime.ContainerID(id)}); err != nil {
			t.Fatal(err)
		}
	}
	w.boot(t)
	w.start(t, id)
}
