package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/test/testkit"
)

const remapped = "userns_remap = \"" + testkit.SubordinateUser + "\"\n" +
	"[runtimes.crun]\ndriver = \"runc\"\n[runtimes.crun.options]\nbinary = \"crun\"\n"

// TestRemappedContainersWorkAsOthers has a daemon with userns_remap do what
// people do with containers.
func TestRemappedContainersWorkAsOthers(t *testing.T) {
	h := testkit.Start(t, testkit.WithCrun(), testkit.WithSubordinateIDs(), testkit.WithConfig(remapped))
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("pull", "-q", "nginx")
	if got := h.MustDocker("info", "--format", "{{.SecurityOptions}}"); !strings.Contains(got, "name=userns") {
		t.Errorf("docker info: %s", got)
	}
	runtimes := []string{"runc"}
	if os.Getenv("STRAKE_LONG") != "" {
		runtimes = append(runtimes, "crun")
	}
	for _, rt := range runtimes {
		t.Run(rt, func(t *testing.T) {
			w := remap{h, t, rt}
			w.ownsItsFiles()
			w.mountsWhatItIsGiven()
			w.hasStreams()
			w.servesOverRestarts()
			w.sharesNamespaces()
			exceedsItsMemory(t, h, "--runtime", rt) // a limit holds in a user namespace, too
		})
	}
	refusals(t, h)
}

// remap is a daemon with userns_remap and a runtime to use.
type remap struct {
	h  *testkit.Host
	t  *testing.T
	rt string
}

func (w remap) run(args ...string) string {
	w.t.Helper()
	r := w.h.Docker(append([]string{"run", "--rm", "--runtime", w.rt}, args...)...)
	if r.Code != 0 {
		w.t.Errorf("%v: exit code %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Out()
}

// want runs a shell in busybox and compares what it prints, white space aside.
func (w remap) want(want, script string, flags ...string) {
	w.t.Helper()
	got := strings.Join(strings.Fields(w.run(append(flags, "busybox", "sh", "-ec", script)...)), " ")
	if got != want {
		w.t.Errorf("%s: %s: %q, want %q", strings.Join(flags, " "), script, got, want)
	}
}

func (w remap) ownsItsFiles() {
	w.want(fmt.Sprintf("0 %d %d 0 0 0 0 0 0 0 7 0 65535 4 4", testkit.FirstSubordinate, testkit.SubordinateIDs),
		`cat /proc/self/uid_map; id -u; stat -c %u / /etc/passwd /etc/hosts /etc/hostname /etc/resolv.conf /proc/sys/net/ipv4/ip_forward
		echo 192.0.2.1 x >> /etc/hosts; rm /bin/vi; echo x > /new; chown 7:8 /new; stat -c %u /new
		cat /proc/sys/net/ipv4/ping_group_range; head -c 4 /dev/zero | wc -c; head -c 4 /dev/z | wc -c`, "--device", "/dev/zero:/dev/z")
	w.want("1000 1000 x 0 out no no no",
		`no() { "$@" 2>/dev/null || echo no; }
		id -u; echo x > /tmp/f; stat -c %u /tmp/f; cat /tmp/f /proc/sys/net/ipv4/ip_unprivileged_port_start; echo out > /dev/stdout
		no touch /x; no touch /sys/x; no sh -c "echo 1 > /proc/sys/vm/swappiness"`, "--read-only", "--user", "1000:1000", "--tmpfs", "/tmp", "--network", "none")
}

// mountsWhatItIsGiven: binds show the host's owners, volumes belong to the
// container's root.
func (w remap) mountsWhatItIsGiven() {
	made := filepath.Join(w.h.Dir, "made-"+w.rt)
	vol := "vol-" + w.rt
	w.want("65534 no 0 in 0 0 1777 x",
		"stat -c %u /host/etc/passwd; touch /host/x 2>/dev/null || echo no; stat -c %u /made; echo in > /made/f; cat /made/f; "+
			"stat -c %u /etc /etc/passwd; rm /etc/group; stat -c %a /dev/shm; echo x > /dev/shm/f; cat /dev/shm/f",
		"-v", "/:/host", "-v", made+":/made", "-v", vol+":/etc", "--ipc", "shareable", "--shm-size", "1m")
	var st unix.Stat_t
	if err := unix.Stat(made+"/f", &st); err != nil || st.Uid != testkit.FirstSubordinate {
		w.t.Errorf("what root made in a bind belongs to %d on the host, %v", st.Uid, err)
	}
	w.want("0 no", "stat -c %u /v/passwd; cat /v/group 2>/dev/null || echo no", "-v", vol+":/v")
}

func (w remap) hasStreams() {
	w.want("/dev/pts/0 0 out", "tty; stat -c %u $(tty); echo out > /dev/stdout", "-t")
	cmd := w.h.Command(testkit.DockerCLI(), "run", "-i", "--rm", "--runtime", w.rt, "busybox", "sh", "-c", "cat > /dev/stdout")
	cmd.Stdin = strings.NewReader("through")
	if r := w.h.Run(cmd); r.Stdout != "through" {
		w.t.Errorf("standard input: %+v", r)
	}
}

// servesOverRestarts has a server with a published port go through restarts of
// its own and of the daemon.
func (w remap) servesOverRestarts() {
	t, h := w.t, w.h
	h.MustDocker("run", "-d", "--name", "web", "--runtime", w.rt, "-p", "127.0.0.1:8080:80", "-m", "64m", "--restart", "always", "nginx")
	serves := func(when string) {
		t.Helper()
		h.Eventually(10*1e9, "nginx answers "+when, func() bool {
			resp, err := h.HTTP().Get("http://127.0.0.1:8080/")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return err == nil && strings.Contains(string(b), "nginx")
		})
	}
	serves("at first")
	pid := h.MustDocker("inspect", "--format", "{{.State.Pid}}", "web")
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+pid, &st); err != nil || st.Uid != testkit.FirstSubordinate {
		t.Errorf("its first process belongs to %d on the host, %v", st.Uid, err)
	}
	h.Kill()
	h.Start()
	serves("after the daemon was killed")
	if got := h.MustDocker("exec", "web", "sh", "-c", "id -u; echo x > /dev/stdout"); got != "0\nx" {
		t.Errorf("exec: %q", got)
	}
	if got := h.MustDocker("exec", "-u", "33", "web", "id", "-u"); got != "33" {
		t.Errorf("exec as a user: %q", got)
	}
	if got := h.MustDocker("stats", "--no-stream", "--format", "{{.MemUsage}}", "web"); !strings.Contains(got, "64MiB") {
		t.Errorf("stats: %q", got)
	}
	h.MustDocker("restart", "-t", "1", "web")
	serves("after a restart")
	if err := unix.Kill(atoi(t, h.MustDocker("inspect", "--format", "{{.State.Pid}}", "web")), unix.SIGKILL); err != nil {
		t.Error(err)
	}
	serves("after its death")
	if got := h.MustDocker("logs", "web"); !strings.Contains(got, "GET / ") {
		t.Errorf("logs: %q", got)
	}
	h.MustDocker("rm", "-f", "web")
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// sharesNamespaces: with the network comes the user namespace, and then the
// others can be joined.
func (w remap) sharesNamespaces() {
	h := w.h
	h.MustDocker("run", "-d", "--name", "first", "--runtime", w.rt, "--ipc", "shareable", "busybox", "sleep", "1000")
	spaces := "for n in user net pid ipc; do readlink /proc/self/ns/$n; done"
	its := strings.Join(strings.Fields(h.MustDocker("exec", "first", "sh", "-c", spaces)), " ")
	w.want(its+" sleep", spaces+"; cat /proc/1/comm", "--network", "container:first", "--pid", "container:first", "--ipc", "container:first")
	for _, kind := range []string{"pid", "ipc"} {
		r := h.Docker("run", "--rm", "--runtime", w.rt, "--"+kind, "container:first", "busybox", "true")
		if r.Code == 0 || !strings.Contains(r.Stderr, "cannot join the "+kind+" namespace of a container that has another user namespace") {
			w.t.Errorf("%s without network: %+v", kind, r)
		}
	}
	r := h.Docker("run", "--rm", "--runtime", w.rt, "--userns", "host", "--network", "container:first", "busybox", "cat", "/proc/self/uid_map")
	if r.Code != 0 || !strings.Contains(r.Stdout, "4294967295") {
		w.t.Errorf("--userns=host: %+v", r)
	}
	h.MustDocker("rm", "-f", "first")
}

// refusals are Docker's, in its words.
func refusals(t *testing.T, h *testkit.Host) {
	t.Helper()
	for want, flags := range map[string][]string{
		"privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode": {"--privileged"},
		"cannot share the host's network namespace when user namespaces are enabled":                                                           {"--network", "host"},
		"cannot share the host PID namespace when user namespaces are enabled":                                                                 {"--pid", "host"},
		"cannot share the host IPC namespace when user namespaces are enabled":                                                                 {"--ipc", "host"},
	} {
		run := func(more ...string) testkit.Result {
			return h.Docker(append(append([]string{"run", "--rm"}, append(flags, more...)...), "busybox", "true")...)
		}
		if r := run(); r.Code != 125 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%v: %+v, want %q", flags, r, want)
		}
		if want := "--privileged"; flags[0] != want {
			continue
		}
		if r := run("--userns", "host"); r.Code != 0 {
			t.Errorf("%v with --userns=host: %+v", flags, r)
		}
	}
	h.MustDocker("run", "-d", "--name", "plain", "--userns", "host", "busybox", "sleep", "1000")
	r := h.Docker("run", "--rm", "--network", "container:plain", "busybox", "true")
	if r.Code == 0 || !strings.Contains(r.Stderr, "it has no user namespace; give this one --userns=host, too") {
		t.Errorf("the network of a container without a user namespace: %+v", r)
	}
	h.MustDocker("rm", "-f", "plain")
}

// TestRemappingComesAndGoes: the same images, containers and their changes serve
// with and without it, and so does what runs meanwhile. The remapped root gets at
// the containers only while there is one.
func TestRemappingComesAndGoes(t *testing.T) {
	if os.Getenv("STRAKE_LONG") == "" {
		t.Skip("the long form: make isolation")
	}
	plain, ids := "0 0 4294967295", fmt.Sprintf("0 %d %d", testkit.FirstSubordinate, testkit.SubordinateIDs)
	h := testkit.Start(t, testkit.WithSubordinateIDs())
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("run", "--name", "kept", "busybox", "sh", "-ec", "cat /proc/self/uid_map; stat -c %u / /etc/passwd /f 2>/dev/null || touch /f")
	h.MustDocker("run", "-d", "--name", "lives-without", "busybox", "sleep", "1000")
	lives := map[string]string{"lives-without": plain}
	for _, c := range []struct {
		config, want string
		group        uint32
	}{
		{remapped, ids, testkit.FirstSubordinate},
		{"", plain, 0},
		{remapped, ids, testkit.FirstSubordinate},
	} {
		h.Stop()
		h.WriteConfig(c.config)
		h.Start()
		r := h.Run(h.Command(testkit.DockerCLI(), "start", "-a", "kept"))
		if got := strings.Join(strings.Fields(r.Stdout), " "); got != c.want+" 0 0 0" {
			t.Errorf("with %q: %q, want %q and root's files: %+v", c.config, got, c.want, r)
		}
		for name, want := range lives {
			got := h.MustDocker("exec", name, "sh", "-c", "cat /proc/self/uid_map; echo own > /dev/stdout")
			if got := strings.Join(strings.Fields(got), " "); got != want+" own" {
				t.Errorf("with %q: %s: %q, want %q", c.config, name, got, want)
			}
		}
		if len(lives) == 1 {
			h.MustDocker("run", "-d", "--name", "lives-with", "busybox", "sleep", "1000")
			lives["lives-with"] = ids
		}
		id := h.MustDocker("inspect", "--format", "{{.Id}}", "kept")
		if err := wayToRoot(h, id, c.group); err != nil {
			t.Errorf("with %q: %v", c.config, err)
		}
	}
	h.MustDocker("rm", "-f", "kept", "lives-without", "lives-with")
	h.Stop()
	if err := os.Chmod(h.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	refusesToStart(t, h, "chmod o+x "+h.Dir)
	h.WriteConfig("userns_remap = \"nosuch\"\n")
	refusesToStart(t, h, `userns_remap: user "nosuch"`)
	h.WriteConfig("")
	h.Start()
}

// wayToRoot complains of a directory on the way to a container's root that others
// than root and a group may pass through.
func wayToRoot(h *testkit.Host, id string, group uint32) (err error) {
	for _, dir := range []string{"state", "state/containers", "state/containers/" + id, "state/containers/" + id + "/rootfs"} {
		var st unix.Stat_t
		if e := unix.Stat(filepath.Join(h.Dir, dir), &st); e != nil || st.Uid != 0 || st.Gid != group || st.Mode&0o777 != 0o710 {
			err = errors.Join(err, fmt.Errorf("%s is %d:%d's, mode %o (%v), want 0:%d, 710", dir, st.Uid, st.Gid, st.Mode&0o777, e, group)) //nolint:errorlint // may be nil
		}
	}
	return err
}

func refusesToStart(t *testing.T, h *testkit.Host, want string) {
	t.Helper()
	err := h.TryStart()
	if err == nil {
		h.Stop()
		t.Errorf("the daemon starts, want %q", want)
	} else if !strings.Contains(h.Log(), want) {
		t.Errorf("%v; want %q in the log", err, want)
	}
}
