package compat

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	c := start(t)
	t.Run("output and errors go their own ways", func(t *testing.T) {
		r := c.in(t).Docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
		if r.Stdout != "out\n" || r.Stderr != "err\n" || r.Code != 0 {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("exit codes", func(t *testing.T) {
		c := c.in(t)
		c.fails(7, ``, "run", "--rm", "busybox", "sh", "-c", "exit 7")
		c.fails(127, `(?s).*docker: Error response from daemon: .*exec: "nope": executable file not found in \$PATH.*`, "run", "--rm", "busybox", "nope")
		c.fails(126, `(?s).*docker: Error response from daemon: .*exec: "/etc": .*`, "run", "--rm", "busybox", "/etc")
		c.fails(125, `(?s)docker: Error response from daemon: .*`, "run", "--rm", "-m", "1m", "busybox")
	})
	t.Run("what a container is made of", func(t *testing.T) {
		c := c.in(t)
		c.prints("A=1 B=from-here\n", "run", "--rm", "-e", "A=1", "-e", "B=from-here", "busybox", "sh", "-c", "echo A=$A B=$B")
		c.prints("/tmp\n", "run", "--rm", "-w", "/tmp", "busybox", "pwd")
		c.prints("/new/dir\n", "run", "--rm", "-w", "/new/dir", "busybox", "pwd")
		c.prints("www-data 33 33\n", "run", "--rm", "-u", "www-data", "busybox", "sh", "-c", "echo $(id -un) $(id -u) $(id -g)")
		c.prints("uid=1234 gid=4321.*\n", "run", "--rm", "-u", "1234:4321", "busybox", "id")
		c.prints("entry point\n", "run", "--rm", "--entrypoint", "echo", "busybox", "entry", "point")
		c.prints("hal\n", "run", "--rm", "-h", "hal", "busybox", "hostname")
		c.prints("1000\n", "run", "--rm", "--ulimit", "nofile=1000:1000", "busybox", "sh", "-c", "ulimit -n")
		c.prints("(?s).*\n1.2.3.4\tearth\n.*", "run", "--rm", "--add-host", "earth:1.2.3.4", "busybox", "cat", "/etc/hosts")
		c.prints("1\n", "run", "--rm", "--init=false", "busybox", "sh", "-c", "echo $$")
		c.prints("tmpfs\n", "run", "--rm", "--tmpfs", "/scratch", "busybox", "sh", "-c", "awk '$2==\"/scratch\"{print $1}' /proc/mounts")
	})
	t.Run("what a container may not do", func(t *testing.T) {
		c := c.in(t)
		c.fails(1, "(?s).*Read-only file system\n", "run", "--rm", "--read-only", "busybox", "touch", "/x")
		c.fails(1, "(?s).*Operation not permitted\n", "run", "--rm", "--cap-drop", "CHOWN", "busybox", "chown", "33", "/tmp")
		c.fails(1, "(?s).*(Operation not permitted|permission denied).*\n", "run", "--rm", "busybox", "mount", "-t", "tmpfs", "x", "/mnt")
		c.ok("run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "x", "/tmp")
	})
	t.Run("bind mounts", func(t *testing.T) {
		c := c.in(t)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "in"), []byte("from the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		c.prints("from the host\n", "run", "--rm", "-v", dir+":/data", "busybox", "sh", "-c", "cat /data/in; echo back >/data/out")
		if b, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(b) != "back\n" {
			t.Errorf("got %q, %v", b, err)
		}
		c.fails(1, "(?s).*Read-only file system\n", "run", "--rm", "-v", dir+":/data:ro", "busybox", "touch", "/data/x")
		c.ok("run", "--rm", "-v", dir+"/made:/data", "busybox", "true")
		if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
			t.Error(err)
		}
	})
	t.Run("standard input", func(t *testing.T) {
		cmd := c.Command("docker", "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo ended")
		cmd.Stdin = strings.NewReader("line\n")
		if r := c.Run(cmd); r.Stdout != "line\nended\n" || r.Code != 0 {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("much output", func(t *testing.T) {
		const want = 20 << 20
		if got := len(c.in(t).ok("run", "--rm", "busybox", "sh", "-c", "yes | head -c 20971520")); got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
	})
	t.Run("--rm removes, and without it stays", func(t *testing.T) {
		c := c.in(t)
		c.ok("run", "--rm", "--name", "gone", "busybox", "true")
		c.eventually("", "ps", "-aq", "--filter", "name=gone")
		c.ok("run", "--name", "stays", "busybox", "true")
		c.prints("stays\n", "ps", "-a", "--format", "{{.Names}}", "--filter", "name=stays")
		c.prints("stays\n", "rm", "stays")
	})
	t.Run("-d and -p", func(t *testing.T) {
		c := c.in(t)
		c.prints(id, "run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8443:443/tcp", "nginx")
		c.prints("80/tcp -> 0.0.0.0:8080\n(80/tcp -> \\[::\\]:8080\n)?443/tcp -> 127.0.0.1:8443\n", "port", "web")
		c.Eventually(10*time.Second, "nginx answers", func() bool {
			resp, err := c.HTTP().Get("http://127.0.0.1:8080/")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(b), "Welcome to nginx!")
		})
		c.prints("web\n", "rm", "-f", "web")
	})
	t.Run("a pull on the way", func(t *testing.T) {
		c := c.in(t)
		c.ok("rmi", "nginx")
		r := c.Docker("run", "--rm", "nginx", "echo", "pulled")
		c.match(`(?s)Unable to find image 'nginx:latest' locally\nlatest: Pulling from library/nginx\n.*Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for nginx:latest\n`, r.Stderr)
		if r.Stdout != "pulled\n" || r.Code != 0 {
			t.Errorf("got %+v", r)
		}
		c.fails(125, `(?s)docker: Error response from daemon: No such image: nowhere:latest\n.*`, "run", "--pull", "never", "nowhere")
	})
}
