//go:build faults

package mishap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Variable names the directory in which a test says what points are to do.
// For each point that is to act there is a file of its name, with a line of
// space-separated words: on which hit of all processes together, the action,
// and pids of others that are stopped first, if the process is, and killed
// otherwise. The actions:
//
//	kill      SIGKILL the process
//	stop      SIGSTOP it
//	children  SIGKILL its children, some time (0 to 15 ms) after
//
// A point that acted leaves "fired/<point>" with the process's id and name, and
// its own file is gone. Every point that is hit leaves "seen/<point>".
const Variable = "STRAKE_FAULTS"

// Hit says that the process has come to a point.
func Hit(p Point) {
	dir := os.Getenv(Variable)
	if dir == "" {
		return
	}
	note(dir, p)
	if action, others, ok := take(dir, p); ok {
		act(dir, p, action, others)
	}
}

// Call says that a call, by gRPC's name of the method, is about to be made, or
// that its answer has come.
func Call(method string, w When) { call(callPoint, method, w) }

// Serve says that a call has arrived, or that its answer is about to be given.
func Serve(method string, w When) { call(servePoint, method, w) }

func call(point func(string, When) Point, method string, w When) {
	if m := Method(method); slices.Contains(Changing(), m) {
		Hit(point(m, w))
	}
}

// Env is what a process hands down to those that it starts.
func Env() []string {
	if dir := os.Getenv(Variable); dir != "" {
		return []string{Variable + "=" + dir}
	}
	return nil
}

// Trail notes the tables that a transaction changes.
type Trail struct{ touched []string }

// Touch notes a change that is not yet committed.
func (t *Trail) Touch(table string) {
	if !slices.Contains(t.touched, table) {
		t.touched = append(t.touched, table)
	}
	Hit(recordPoint(table, Before))
}

// Committed says that the changes are durable.
func (t *Trail) Committed() {
	for _, table := range t.touched {
		Hit(recordPoint(table, After))
	}
}

var seen sync.Map

func note(dir string, p Point) {
	if _, again := seen.LoadOrStore(p, true); !again {
		write(filepath.Join(dir, "seen", string(p)), "")
	}
}

// take says what the point is to do now. Others wait meanwhile.
func take(dir string, p Point) (action string, others []string, ok bool) {
	path := filepath.Join(dir, string(p))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, false
	}
	must(err)
	defer f.Close() //nolint:errcheck // the lock goes with it
	must(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	text, err := io.ReadAll(f)
	must(err)
	words := strings.Fields(string(text))
	if len(words) < 2 { // another process took it while this one waited
		return "", nil, false
	}
	n, err := strconv.Atoi(words[0])
	must(err)
	must(f.Truncate(0))
	if n > 1 {
		_, err = f.WriteAt([]byte(strconv.Itoa(n-1)+" "+strings.Join(words[1:], " ")), 0)
		must(err)
		return "", nil, false
	}
	must(os.Remove(path))
	return words[1], words[2:], true
}

func act(dir string, p Point, action string, others []string) {
	name, err := os.Executable()
	must(err)
	fired := filepath.Join(dir, "fired", string(p)) // a test that sees it can read it whole
	write(fired+".aside", fmt.Sprintf("%d %s", os.Getpid(), filepath.Base(name)))
	must(os.Rename(fired+".aside", fired))
	signal := syscall.SIGKILL
	if action == "stop" {
		signal = syscall.SIGSTOP
	}
	for _, o := range others {
		pid, err := strconv.Atoi(o)
		must(err)
		if sibling(pid, name) { // it may have ended, and the pid be another's
			syscall.Kill(pid, signal) //nolint:errcheck // see above
		}
	}
	if action == "children" {
		go killChildren()
		return
	}
	must(syscall.Kill(os.Getpid(), signal))
	if signal == syscall.SIGKILL {
		select {} // nothing more is done
	}
}

// sibling says whether a process runs a program that lies beside this one.
func sibling(pid int, own string) bool {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && filepath.Dir(exe) == filepath.Dir(own)
}

// killChildren kills what the process has started, at a moment that differs.
func killChildren() {
	time.Sleep(time.Duration(time.Now().UnixNano()/1000%15) * time.Millisecond)
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	must(err)
	for _, t := range tasks {
		text, _ := os.ReadFile(t) //nolint:errcheck // the thread may have ended
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil && isRuntime(pid) {
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
			}
		}
	}
}

// isRuntime tells the OCI runtime from the container's process.
func isRuntime(pid int) bool {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return err == nil && (strings.HasPrefix(string(name), "runc") || strings.HasPrefix(string(name), "crun"))
}

func write(path, text string) { must(os.WriteFile(path, []byte(text), 0o600)) }

// must ends a process that a test has misdirected.
func must(err error) {
	if err != nil {
		panic(fmt.Errorf("mishap: %w", err))
	}
}
