package compat

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestLifecycle(t *testing.T) {
	c := start(t)
	const trap = "trap 'exit 3' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done"
	c.prints(id, "create", "--name", "web", "--label", "tier=front", "busybox", "sh", "-c", trap)
	t.Run("created", func(t *testing.T) {
		c := c.in(t)
		c.prints(`CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES\n`+short+` +busybox +"sh -c 'trap 'exit 3…" +(Less than a|\d+) seconds? ago +Created +web\n`, "ps", "-a")
		c.prints(`CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES\n`, "ps")
		c.prints("created false 0\n", "inspect", "--format", "{{.State.Status}} {{.State.Running}} {{.State.Pid}}", "web")
	})
	t.Run("started", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "start", "web")
		c.prints("web\n", "start", "web") // again
		c.prints(`(?s).*"sh -c 'trap 'exit 3…" .* Up (Less than a|\d+) seconds? +web\n`, "ps")
		c.eventually("up\n", "logs", "web")
		c.prints("web\n", "kill", "-s", "USR1", "web")
		c.eventually("up\nusr1\n", "logs", "web")
		c.prints("(?s)UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot +\\d+ .* sh -c trap.*", "top", "web")
		c.prints("(?s)PID +COMMAND\n *\\d+ +sh\n.*", "top", "web", "-o", "pid,comm")
		c.prints(`CONTAINER ID +NAME +CPU % +MEM USAGE / LIMIT +MEM % +NET I/O +BLOCK I/O +PIDS *\n`+short+` +web +[\d.]+% +[\d.]+[KM]iB / [\d.]+GiB +[\d.]+% +[\d.]+k?B / [\d.]+k?B +[\d.]+[kM]?B / [\d.]+[kM]?B +[12] *\n`, "stats", "--no-stream", "web")
	})
	t.Run("updated", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "update", "-m", "64m", "--memory-swap", "64m", "--restart", "no", "web")
		c.prints("67108864\n", "inspect", "--format", "{{.HostConfig.Memory}}", "web")
		c.prints("67108864\n", "exec", "web", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max")
	})
	t.Run("paused", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "pause", "web")
		c.prints("paused true\n", "inspect", "--format", "{{.State.Status}} {{.State.Paused}}", "web")
		c.prints(`(?s).*Up .* \(Paused\) +web\n`, "ps")
		c.fails(1, "Error response from daemon: .*[Pp]aused.*\n", "pause", "web")
		c.fails(1, "(?s)Error response from daemon: .*paused.*", "exec", "web", "true")
		c.prints("web\n", "unpause", "web")
		c.prints("running false\n", "inspect", "--format", "{{.State.Status}} {{.State.Paused}}", "web")
	})
	t.Run("stopped, with the code of its handler", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "stop", "-t", "10", "web")
		c.prints("web\n", "stop", "web") // again
		c.prints("exited 3\n", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web")
		c.prints(`(?s).*Exited \(3\) (Less than a|\d+) seconds? ago +web\n`, "ps", "-a")
		c.prints("3\n", "wait", "web")
	})
	t.Run("restarted", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "restart", "-t", "5", "web")
		first := c.ok("inspect", "--format", "{{.State.Pid}}", "web")
		c.prints("web\n", "restart", "-t", "5", "web")
		if again := c.ok("inspect", "--format", "{{.State.Pid}}", "web"); again == first || again == "0\n" {
			t.Errorf("process %q before and %q after", first, again)
		}
		c.prints("0\n", "inspect", "--format", "{{.RestartCount}}", "web")
	})
	t.Run("killed", func(t *testing.T) {
		c := c.in(t)
		c.prints("web\n", "kill", "web")
		c.prints("137\n", "wait", "web")
		c.fails(1, "Error response from daemon: .*is not running\n", "kill", "web")
	})
	t.Run("renamed and removed", func(t *testing.T) {
		c := c.in(t)
		c.prints("", "rename", "web", "shop")
		c.prints("/shop\n", "inspect", "--format", "{{.Name}}", "shop")
		c.fails(1, "Error response from daemon: No such container: web\n", "logs", "web")
		c.ok("start", "shop")
		c.fails(1, `Error response from daemon: cannot remove container "(/?shop|`+short+`[0-9a-f]*)": container is running: stop the container before removing or force remove\n`, "rm", "shop")
		c.prints("shop\n", "rm", "-f", "shop")
		c.fails(1, `Error: No such object: shop\n|Error response from daemon: No such container: shop\n|(?s).*[Nn]o such.*shop\n`, "inspect", "shop")
		c.fails(1, "Error response from daemon: No such container: shop\n", "rm", "shop")
	})
	t.Run("oom", func(t *testing.T) {
		c := c.in(t)
		r := c.Docker("run", "--name", "fat", "-m", "8m", "--memory-swap", "8m", "busybox", "sh", "-c", "x=a; while :; do x=$x$x; done")
		if r.Code != 137 {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		c.prints("true\n", "inspect", "--format", "{{.State.OOMKilled}}", "fat")
		c.ok("rm", "fat")
	})
}

func TestWaitAndRestartPolicy(t *testing.T) {
	c := start(t)
	cmd := c.Command("docker", "wait", "later")
	out := &lines{}
	cmd.Stdout = out
	c.ok("run", "-d", "--name", "later", "busybox", "sh", "-c", "sleep 0.5; exit 6")
	if err := c.Namespace().Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.String() != "6\n" {
		t.Errorf("got %q, %v", out, err)
	}
	c.ok("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "false")
	c.eventually("2 exited 1\n", "inspect", "--format", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "again")
}

func TestPsFilters(t *testing.T) {
	c := start(t)
	c.ok("run", "-d", "--name", "one", "--label", "tier=front", "busybox", "top")
	c.ok("run", "-d", "--name", "two", "--label", "tier=back", "-v", "data:/data", "busybox", "top")
	c.ok("pull", "-q", "nginx")
	c.fails(2, "", "run", "--name", "done", "nginx", "sh", "-c", "exit 2")
	for filter, want := range map[string]string{
		"name=o":            "done\ntwo\none\n",
		"name=^/?one$":      "one\n",
		"label=tier":        "two\none\n",
		"label=tier=back":   "two\n",
		"status=exited":     "done\n",
		"status=running":    "two\none\n",
		"exited=2":          "done\n",
		"exited=0":          "",
		"ancestor=busybox":  "two\none\n",
		"ancestor=nginx":    "done\n",
		"before=two":        "one\n",
		"since=one":         "done\ntwo\n",
		"volume=data":       "two\n",
		"network=bridge":    "done\ntwo\none\n",
		"id=" + "nonsense":  "",
		"is-task=false":     "done\ntwo\none\n",
		"publish=80":        "",
		"health=none":       "done\ntwo\none\n",
		"label=tier=middle": "",
	} {
		if got := c.ok("ps", "-a", "--format", "{{.Names}}", "--filter", filter); got != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
	c.prints("done\n", "ps", "-l", "--format", "{{.Names}}")
	c.prints("done\ntwo\n", "ps", "-n", "2", "--format", "{{.Names}}")
	c.prints(`two [\d.]+k?B \(virtual [\d.]+MB\)\n`, "ps", "-s", "--filter", "name=two", "--format", "{{.Names}} {{.Size}}")
	c.prints(`tier=front busybox "top" bridge \n`, "ps", "--filter", "name=one", "--format", "{{.Labels}} {{.Image}} {{.Command}} {{.Networks}} {{.Ports}}")
	var row map[string]string
	if err := json.Unmarshal([]byte(c.ok("ps", "--filter", "name=two", "--format", "json")), &row); err != nil || row["State"] != "running" || row["Mounts"] != "data" {
		t.Errorf("got %v, %v", row, err)
	}
	c.prints("Deleted Containers:\n"+id+"\nTotal reclaimed space: .*\n", "container", "prune", "-f")
}

func TestLogs(t *testing.T) {
	c := start(t)
	c.ok("run", "--name", "talk", "busybox", "sh", "-c", "for i in 1 2 3; do echo out$i; done; sleep 0.1; echo err >&2")
	r := c.Docker("logs", "talk")
	if r.Stdout != "out1\nout2\nout3\n" || r.Stderr != "err\n" {
		t.Errorf("got %+v", r)
	}
	c.prints("out3\n", "logs", "-n", "2", "talk")
	c.prints("", "logs", "--tail", "0", "talk")
	c.prints(`(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out\d\n){3}`, "logs", "-t", "talk")
	c.prints("", "logs", "--until", "10m", "talk")
	c.prints("out1\nout2\nout3\n", "logs", "--since", "10m", "talk")
	c.fails(1, "Error response from daemon: No such container: nobody\n", "logs", "nobody")

	c.ok("run", "-d", "--name", "talker", "busybox", "sh", "-c", "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo line $i; done; while [ ! -e /end ]; do sleep 0.05; done; echo bye")
	cmd := c.Command("docker", "logs", "-f", "talker")
	out := &lines{}
	cmd.Stdout = out
	if err := c.Namespace().Start(cmd); err != nil {
		t.Fatal(err)
	}
	c.Eventually(10*time.Second, "the log is followed", func() bool { return strings.HasSuffix(out.String(), "line 500\n") })
	c.ok("exec", "talker", "touch", "/end")
	if err := cmd.Wait(); err != nil || !strings.HasSuffix(out.String(), "line 500\nbye\n") || strings.Count(out.String(), "\n") != 501 {
		t.Errorf("got %d lines, %v", strings.Count(out.String(), "\n"), err)
	}
	c.ok("run", "--log-driver", "none", "--name", "mute", "busybox", "echo", "x")
	c.fails(1, "Error response from daemon: configured logging driver does not support reading\n", "logs", "mute")
	c.ok("run", "--log-opt", "max-size=1k", "--log-opt", "max-file=2", "--name", "rotated", "busybox", "sh", "-c", "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done")
	if got := c.ok("logs", "rotated"); !strings.HasSuffix(got, "line 99\nline 100\n") || strings.HasPrefix(got, "line 1\n") {
		t.Errorf("rotated: got %q", got)
	}
}

func TestAttach(t *testing.T) {
	c := start(t)
	c.ok("create", "-i", "--name", "cat", "busybox", "sh", "-c", "cat; exit 5")
	c.ok("start", "cat")
	cmd := c.Command("docker", "attach", "cat")
	cmd.Stdin = strings.NewReader("typed\n")
	if r := c.Run(cmd); r.Stdout != "typed\n" || r.Code != 5 {
		t.Errorf("got %+v", r)
	}
	c.fails(1, "You cannot attach to a stopped container, start it first\n", "attach", "cat")
	c.ok("create", "--name", "hello", "busybox", "echo", "hello")
	c.prints("hello\n", "start", "-a", "hello")
	c.prints("hello\n", "logs", "hello")
}

func TestExec(t *testing.T) {
	c := start(t)
	c.ok("run", "-d", "--name", "host", "-e", "FROM=container", "busybox", "top")
	r := c.Docker("exec", "-e", "X=1", "-w", "/tmp", "-u", "www-data", "host", "sh", "-c", "echo $FROM $X $(pwd) $(id -un); echo err >&2; exit 3")
	if r.Stdout != "container 1 /tmp www-data\n" || r.Stderr != "err\n" || r.Code != 3 {
		t.Errorf("got %+v", r)
	}
	cmd := c.Command("docker", "exec", "-i", "host", "cat")
	cmd.Stdin = strings.NewReader(strings.Repeat("0123456789", 1<<17))
	if r := c.Run(cmd); len(r.Stdout) != 10<<17 || r.Code != 0 {
		t.Errorf("got %d bytes, exit code %d, %s", len(r.Stdout), r.Code, r.Stderr)
	}
	c.prints("", "exec", "-d", "host", "touch", "/made")
	c.eventually("/made\n", "exec", "host", "ls", "/made")
	if r := c.Docker("exec", "host", "nope"); r.Code != 127 || !strings.Contains(r.Stdout+r.Stderr, `exec: "nope": executable file not found in $PATH`) {
		t.Errorf("got %+v", r)
	}
	if r := c.Docker("exec", "host", "/etc"); r.Code != 126 {
		t.Errorf("got %+v", r)
	}
	c.ok("stop", "-t", "0", "host")
	c.fails(1, "Error response from daemon: container ("+short+"[0-9a-f]*|host) is not running\n", "exec", "host", "true")
	c.fails(1, "Error response from daemon: No such container: nobody\n", "exec", "nobody", "true")
}
