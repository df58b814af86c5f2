package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// Each case runs a shell line in busybox with some flags and says what it must
// see.
func TestContainersSeeWhatTheirFlagsSay(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("bound"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, flags, line, want string
		code                    int
	}{
		{"default capabilities", "", "grep CapEff /proc/self/status", "00000000a80425fb", 0},
		{"no capabilities", "--cap-drop ALL", "grep CapEff /proc/self/status", "0000000000000000", 0},
		{"one capability more", "--cap-add NET_ADMIN", "grep CapEff /proc/self/status", "00000000a80435fb", 0},
		{"seccomp filters", "", "grep Seccomp: /proc/self/status", "2$", 0},
		{"seccomp off", "--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "0$", 0},
		{"no new privileges", "--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "1$", 0},
		{"masked paths", "", "wc -c < /proc/timer_list", "^0$", 0},
		{"read-only sysctls", "", "echo 1 > /proc/sys/kernel/panic", "Read-only file system", 1},
		{"privileged", "--privileged", "ls -d /dev/loop-control; grep -c ' /proc/sys ' /proc/mounts", "/dev/loop-control\n0", 1},
		{"init is pid 1", "--init", "cat /proc/1/comm", "init|tini", 0},
		{"read-only root", "--read-only", "touch /x", "Read-only file system", 1},
		{"tmpfs", "--tmpfs /scratch:size=1m", "grep ' /scratch ' /proc/mounts", "^tmpfs /scratch tmpfs .*size=1024k", 0},
		{"bind mount", "-v " + dir + ":/b:ro", "cat /b/f; touch /b/x", "bound.*Read-only file system", 1},
		{"user and groups", "-u 1000:1000 --group-add 20", "id -u; id -G", "^1000\n1000 20", 0},
		{"host name and hosts", "-h box --add-host peer:10.9.8.7", "hostname; grep peer /etc/hosts; grep box /etc/hosts", "^box\n10.9.8.7\\s+peer\n172.*box", 0},
		{"ulimit", "--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn", "^100\n200", 0},
		{"shm size", "--shm-size 3m", "df -k /dev/shm | tail -1", " 3072 ", 0},
		{"no network", "--network none", "ls /sys/class/net", "^(ifb0\nifb1\n)?lo$", 0},
		{"host network", "--network host", "ls /sys/class/net", "ext0", 0},
		{"working directory", "-w /made/here", "pwd", "^/made/here", 0},
		{"entrypoint", "--entrypoint sh", "echo $0", "sh", 0},
		{"sysctl", "--sysctl net.ipv4.ip_forward=0", "cat /proc/sys/net/ipv4/ip_forward", "^0", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append(append([]string{"run", "--rm"}, strings.Fields(c.flags)...), "busybox", "sh", "-c", c.line)
			if c.name == "entrypoint" {
				args = append(append([]string{"run", "--rm"}, strings.Fields(c.flags)...), "busybox", "-c", c.line)
			}
			r := h.Docker(args...)
			out := strings.TrimSpace(r.Stdout + r.Stderr)
			if r.Code != c.code || !regexp.MustCompile("(?s)"+c.want).MatchString(out) {
				t.Errorf("exit code %d, want %d; %q does not match %q", r.Code, c.code, out, c.want)
			}
		})
	}
}

func TestAContainerThatExceedsItsMemoryIsKilledAndSaysSo(t *testing.T) {
	exceedsItsMemory(t, testkit.Start(t))
}

func exceedsItsMemory(t *testing.T, h *testkit.Host, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "-m", "16m"}, flags...)
	id := h.MustDocker(append(args, "busybox", "sh", "-c", "tail /dev/zero")...)
	if code := h.MustDocker("wait", id); code != "137" {
		t.Errorf("exit code %s, want 137", code)
	}
	if oom := h.MustDocker("inspect", "-f", "{{.State.OOMKilled}}", id); oom != "true" {
		t.Errorf("OOMKilled: %s, want true", oom)
	}
	h.MustDocker("rm", id)
}

func TestHealthFollowsTheCheck(t *testing.T) {
	h := testkit.Start(t)
	id := h.MustDocker("run", "-d", "--health-cmd", "test ! -e /sick", "--health-interval", "100ms", "--health-retries", "1", "busybox", "sleep", "1000")
	status := func() string { return h.MustDocker("inspect", "-f", "{{.State.Health.Status}}", id) }
	h.Eventually(10*time.Second, "it is healthy", func() bool { return status() == "healthy" })
	h.MustDocker("exec", id, "touch", "/sick")
	h.Eventually(10*time.Second, "it is unhealthy", func() bool { return status() == "unhealthy" })
}

// Strake's own programs nap longer (sdk/sysmon); what they start must not.
func TestContainersHaveTheKernelsTimerSlack(t *testing.T) {
	h := testkit.Start(t)
	h.MustDocker("pull", "-q", "busybox")
	for range 3 { // by different threads of the daemon and its driver
		if got := h.MustDocker("run", "--rm", "busybox", "cat", "/proc/self/timerslack_ns"); got != "50000" {
			t.Errorf("the timer slack in a container is %s ns, want 50000", got)
		}
	}
	id := h.MustDocker("run", "-d", "busybox", "sleep", "1000")
	if got := h.MustDocker("exec", id, "cat", "/proc/self/timerslack_ns"); got != "50000" {
		t.Errorf("the timer slack of an exec is %s ns, want 50000", got)
	}
}
