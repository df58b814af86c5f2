package container

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/sdk/runtime"
)

func TestMergeFollowsDockersRules(t *testing.T) {
	image := container.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=1", "B=2"}, User: "web", WorkingDir: "/srv",
		Labels: map[string]string{"l": "image", "m": "image"}, StopSignal: "SIGQUIT",
		Healthcheck: &container.HealthConfig{Test: []string{"CMD", "true"}, Retries: 5},
	}
	for _, c := range []struct {
		name string
		req  container.Config
		want string // entrypoint | command
	}{
		{"nothing given", container.Config{}, "/entry|serve"},
		{"a command", container.Config{Cmd: []string{"x"}}, "/entry|x"},
		{"an entrypoint drops the command", container.Config{Entrypoint: []string{"y"}}, "y|"},
		{"both", container.Config{Entrypoint: []string{"y"}, Cmd: []string{"z"}}, "y|z"},
		{"an empty entrypoint drops the image's", container.Config{Entrypoint: []string{""}, Cmd: []string{"z"}}, "|z"},
	} {
		got, err := merge(&c.req, &image)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got.Entrypoint, " ") + "|" + strings.Join(got.Cmd, " "); s != c.want {
			t.Errorf("%s: %s", c.name, s)
		}
	}
	got, err := merge(&container.Config{
		Env: []string{"B=3", "C"}, Labels: map[string]string{"l": "mine"}, Healthcheck: &container.HealthConfig{Retries: 1},
	}, &image)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Env, []string{"B=3", "C", "A=1"}) || got.User != "web" || got.WorkingDir != "/srv" || got.StopSignal != "SIGQUIT" {
		t.Errorf("%+v", got)
	}
	if got.Labels["l"] != "mine" || got.Labels["m"] != "image" || got.Healthcheck.Retries != 1 || got.Healthcheck.Test[1] != "true" {
		t.Errorf("%+v %+v", got.Labels, got.Healthcheck)
	}
	if image.Labels["l"] != "image" || len(image.Env) != 2 {
		t.Error("the image was changed")
	}
}

func TestRestartPoliciesAndTheirPauses(t *testing.T) {
	begin := time.Now()
	policy := func(n container.RestartPolicyMode, most int) container.RestartPolicy {
		return container.RestartPolicy{Name: n, MaximumRetryCount: most}
	}
	for _, c := range []struct {
		name  string
		p     container.RestartPolicy
		r     run
		code  int
		ran   time.Duration
		again bool
		pause time.Duration
	}{
		{"none", policy("no", 0), run{}, 1, 0, false, 0},
		{"always", policy("always", 0), run{}, 0, 0, true, 100 * time.Millisecond},
		{"always, third time", policy("always", 0), run{RestartCount: 2}, 0, 0, true, 400 * time.Millisecond},
		{"always, many times", policy("always", 0), run{RestartCount: 50}, 0, 0, true, time.Minute},
		{"after a good run", policy("always", 0), run{RestartCount: 50}, 0, 11 * time.Second, true, 100 * time.Millisecond},
		{"stopped by hand", policy("always", 0), run{Stopped: true}, 0, 0, false, 0},
		{"unless stopped", policy("unless-stopped", 0), run{}, 0, 0, true, 100 * time.Millisecond},
		{"on failure, none", policy("on-failure", 0), run{}, 0, 0, false, 0},
		{"on failure", policy("on-failure", 3), run{RestartCount: 2}, 1, 0, true, 400 * time.Millisecond},
		{"on failure, enough", policy("on-failure", 3), run{RestartCount: 3}, 1, 0, false, 0},
	} {
		c.r.StartedAt = begin
		again, pause := restartAfter(c.p, c.r, runtime.Exit{Code: c.code, At: begin.Add(c.ran)})
		if again != c.again || again && pause != c.pause {
			t.Errorf("%s: %v after %s", c.name, again, pause)
		}
	}
}

func TestWhatRunsAgainWithTheDaemon(t *testing.T) {
	for _, c := range []struct {
		policy  container.RestartPolicyMode
		status  status
		stopped bool
		code    int
		want    bool
	}{
		{"no", container.StateExited, false, 1, false},
		{"always", container.StateExited, true, 0, true},
		{"always", container.StateCreated, false, 0, false},
		{"unless-stopped", container.StateExited, true, 0, false},
		{"unless-stopped", container.StateExited, false, 0, true},
		{"on-failure", container.StateExited, false, 0, false},
		{"on-failure", container.StateExited, false, 1, true},
		{"on-failure", container.StateRestarting, false, 1, true},
	} {
		r := record{
			Host: &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: c.policy}},
			Run:  run{Status: c.status, Stopped: c.stopped, ExitCode: c.code, StartedAt: time.Now()},
		}
		if c.status == container.StateCreated {
			r.Run.StartedAt = time.Time{}
		}
		if got := wantsRun(r); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestHealthIsJudgedLikeDocker(t *testing.T) {
	h := &container.Health{Status: container.Starting}
	step := func(code int, startPeriod bool, want container.HealthStatus, streak int) {
		t.Helper()
		judge(h, &container.HealthcheckResult{ExitCode: code}, 2, startPeriod)
		if h.Status != want || h.FailingStreak != streak {
			t.Errorf("%s, streak %d", h.Status, h.FailingStreak)
		}
	}
	step(1, true, container.Starting, 0) // does not count yet
	step(1, false, container.Starting, 1)
	step(0, false, container.Healthy, 0)
	step(1, true, container.Healthy, 1) // counts: it was well before
	step(1, false, container.Unhealthy, 2)
	step(0, false, container.Healthy, 0)
	if len(h.Log) != healthLog {
		t.Errorf("%d results kept", len(h.Log))
	}
}

func TestStatusTexts(t *testing.T) {
	now := time.Now()
	r := run{StartedAt: now.Add(-5 * time.Minute), FinishedAt: now.Add(-time.Hour), ExitCode: 3}
	well := &container.Health{Status: container.Healthy}
	for want, v := range map[string]view{
		"Created":                          {rec: record{Run: run{Status: container.StateCreated}}},
		"Up 5 minutes":                     {rec: record{Run: with(r, container.StateRunning)}},
		"Up 5 minutes (healthy)":           {rec: record{Run: with(r, container.StateRunning)}, health: well},
		"Up 5 minutes (Paused)":            {rec: record{Run: with(r, container.StatePaused)}},
		"Exited (3) About an hour ago":     {rec: record{Run: with(r, container.StateExited)}},
		"Restarting (3) About an hour ago": {rec: record{Run: with(r, container.StateRestarting)}},
		"Dead":                             {rec: record{Run: with(r, container.StateDead)}},
		"Removal In Progress":              {rec: record{Run: with(r, container.StateRemoving)}},
	} {
		if got := statusText(v, now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func with(r run, s status) run {
	r.Status = s
	return r
}

func TestListFilters(t *testing.T) {
	port := apinetwork.MustParsePort("80/tcp")
	v := view{rec: record{
		ID: "abcdef", Name: "/web", Config: &container.Config{
			Labels: map[string]string{"tier": "front"}, ExposedPorts: apinetwork.PortSet{port: {}, apinetwork.MustParsePort("53/udp"): {}},
		},
		Host:   &container.HostConfig{NetworkMode: "bridge"},
		Mounts: []mountPoint{{Name: "vol", Destination: "/data"}},
		Run: run{
			Status: container.StateRunning, StartedAt: time.Now(),
			Network: NetworkState{
				Endpoints: map[string]*apinetwork.EndpointSettings{"bridge": {NetworkID: "n123"}},
				Ports:     apinetwork.PortMap{port: {{HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: "8080"}}},
			},
		},
	}}
	for _, c := range []struct {
		f    filter.Args
		want bool
	}{
		{nil, true},
		{filter.Args{"id": {"abc"}}, true},
		{filter.Args{"id": {"bcd"}}, false},
		{filter.Args{"status": {"exited", "running"}}, true},
		{filter.Args{"status": {"exited"}}, false},
		{filter.Args{"health": {"none"}}, true},
		{filter.Args{"label": {"tier", "tier=front"}}, true},
		{filter.Args{"label": {"tier=back"}}, false},
		{filter.Args{"network": {"bridge"}}, true},
		{filter.Args{"network": {"n1"}}, true},
		{filter.Args{"network": {"none"}}, false},
		{filter.Args{"volume": {"/data"}}, true},
		{filter.Args{"volume": {"vo"}}, false},
		{filter.Args{"publish": {"8080"}}, true},
		{filter.Args{"publish": {"8000-9000/tcp"}}, true},
		{filter.Args{"publish": {"80"}}, false},
		{filter.Args{"expose": {"53/udp"}}, true},
		{filter.Args{"expose": {"53"}}, false},
		{filter.Args{"exited": {"0"}}, false},
	} {
		if got := matchRecord(c.f, v); got != c.want {
			t.Errorf("%v: %v", c.f, got)
		}
	}
	if err := checkFilters(filter.Args{"status": {"asleep"}}); err == nil {
		t.Error("an unknown status is accepted")
	}
}

func TestPsOutputIsPicked(t *testing.T) {
	table := "UID        PID  PPID  C STIME TTY          TIME CMD\n" +
		"root        10     1  0 10:00 ?        00:00:00 sleep 100 200\n" +
		"root        11     1  0 10:00 ?        00:00:00 other\n"
	got, err := parsePs(table, []int{10})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"root", "10", "1", "0", "10:00", "?", "00:00:00", "sleep 100 200"}}
	if d := cmp.Diff(want, got.Processes); d != "" {
		t.Error(d)
	}
	if _, err := parsePs("A B\n", nil); err == nil {
		t.Error("a table without pids is accepted")
	}
	if err := checkPsArgs([]string{"-o", "pid=X"}); err == nil {
		t.Error("a renamed column is accepted")
	}
}

func TestNamesAreMadeUp(t *testing.T) {
	m := &Manager{names: map[string]string{}}
	seen := map[string]bool{}
	for range 200 {
		name, err := m.reserve("", newID())
		if err != nil || !validName(name[1:]) || !strings.Contains(name, "_") || seen[name] {
			t.Fatalf("%q, %v", name, err)
		}
		seen[name] = true
	}
	for name, ok := range map[string]bool{"a": false, "ab": true, "_a": false, "a_.-": true, "a/b": false, "": false, "é1": false} {
		if validName(name) != ok {
			t.Errorf("%q: %v", name, !ok)
		}
	}
}

func TestCommandLineQuotesBlanks(t *testing.T) {
	if got := commandLine(record{Path: "sh", Args: []string{"-c", "echo a b"}}); got != "sh -c 'echo a b'" {
		t.Errorf("got %s", got)
	}
}

func FuzzParseBind(f *testing.F) {
	for _, s := range []string{"/a:/b:ro", "vol:/b", "/anon", "::", "/a:/b:rshared,z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseBind(s, "")
		if err == nil && (p.Destination == "" || p.Destination == "/" || p.Type == "bind" && p.Source == "") {
			t.Errorf("%q gives %+v", s, p)
		}
	})
}
