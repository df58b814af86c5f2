package compat

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a command on a pseudo-terminal.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	done   chan struct{} // closed when the command's output has ended

	mu     sync.Mutex
	screen bytes.Buffer
}

// onTerminal runs docker on a terminal of 30 rows and 100 columns.
func (c *cli) onTerminal(args ...string) *terminal {
	c.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		c.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		c.t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer slave.Close()
	x := &terminal{t: c.t, cmd: c.Command("docker", args...), master: master, done: make(chan struct{})}
	x.resize(30, 100)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Namespace().Start(x.cmd); err != nil {
		c.t.Fatal(err)
	}
	go x.watch()
	c.t.Cleanup(func() {
		x.cmd.Process.Kill() // an error: it has ended
		<-x.done
		master.Close()
	})
	return x
}

func (x *terminal) watch() {
	defer close(x.done)
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		x.mu.Lock()
		x.screen.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return // EIO: the last process has closed the terminal
		}
	}
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

func (x *terminal) resize(rows, cols uint16) {
	x.t.Helper()
	if err := unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) typ(s string) {
	x.t.Helper()
	if _, err := x.master.WriteString(s); err != nil {
		x.t.Fatal(err)
	}
}

// shows waits until the terminal has shown a text.
func (x *terminal) shows(want string) {
	x.t.Helper()
	for end := time.Now().Add(15 * time.Second); !strings.Contains(x.text(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%q never came, the terminal shows\n%q", want, x.text())
		}
	}
}

// ends waits for the command and checks its exit code.
func (x *terminal) ends(code int) {
	x.t.Helper()
	exited := make(chan error, 1)
	go func() { exited <- x.cmd.Wait() }()
	select {
	case <-exited:
	case <-time.After(15 * time.Second):
		x.t.Fatalf("docker goes on, the terminal shows\n%q", x.text())
	}
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d, the terminal shows\n%q", got, code, x.text())
	}
}

func TestTerminals(t *testing.T) {
	c := start(t)
	t.Run("run -it is a shell on a terminal", func(t *testing.T) {
		x := c.in(t).onTerminal("run", "--rm", "-it", "busybox", "sh")
		x.shows("# ")
		x.typ("stty size; tty\n")
		x.shows("30 100\r\n/dev/pts/0\r\n")
		x.resize(40, 90)
		c.Eventually(10*time.Second, "the size changes", func() bool {
			x.typ("stty size\n")
			return strings.Contains(x.text(), "40 90\r\n")
		})
		x.typ("echo g$((1))o; sleep 1000\n")
		x.shows("g1o")
		x.typ("\x03")
		x.typ("echo still $((40+2))\n")
		x.shows("still 42")
		x.typ("exit 5\n")
		x.ends(5)
	})
	t.Run("detach keys leave the container running, attach comes back", func(t *testing.T) {
		c := c.in(t)
		x := c.onTerminal("run", "-it", "--name", "shell", "busybox", "sh")
		x.shows("# ")
		x.typ("\x10\x11")
		x.ends(0)
		c.prints("true\n", "inspect", "--format", "{{.State.Running}}", "shell")
		x = c.onTerminal("attach", "--detach-keys", "ctrl-a,d", "shell")
		c.Eventually(10*time.Second, "the shell answers", func() bool {
			x.typ("echo back $((40+2))\n")
			return strings.Contains(x.text(), "back 42")
		})
		x.typ("\x01d")
		x.shows("read escape sequence")
		x.ends(1)
		c.prints("true\n", "inspect", "--format", "{{.State.Running}}", "shell")
		x = c.onTerminal("attach", "shell")
		x.typ("exit 3\n")
		x.ends(3)
		c.ok("rm", "shell")
	})
	t.Run("exec -it", func(t *testing.T) {
		c := c.in(t)
		c.ok("run", "-d", "--name", "host", "busybox", "top")
		x := c.onTerminal("exec", "-it", "host", "sh")
		x.shows("# ")
		x.typ("stty size; exit 4\n")
		x.shows("30 100\r\n")
		x.ends(4)
		c.ok("rm", "-f", "host")
	})
	t.Run("signals reach the process", func(t *testing.T) {
		c := c.in(t)
		cmd := c.Command("docker", "run", "--rm", "--name", "sig", "busybox", "sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
		out := &lines{}
		cmd.Stdout = out
		if err := c.Namespace().Start(cmd); err != nil {
			t.Fatal(err)
		}
		c.Eventually(10*time.Second, "it is ready", func() bool { return out.String() == "ready\n" })
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // its error is the exit code
		if code := cmd.ProcessState.ExitCode(); code != 9 {
			t.Errorf("exit code %d, want 9", code)
		}
	})
}
