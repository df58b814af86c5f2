package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/runtime"
)

// runtimeLab is one case's driver and what it made with it.
type runtimeLab struct {
	*T
	subject Subject[runtime.Driver]
	env     RuntimeEnv
	d       runtime.Driver
	made    []*box
}

func newRuntimeLab(t *T, s Subject[runtime.Driver], env RuntimeEnv) *runtimeLab {
	l := &runtimeLab{T: t, subject: s, env: env, d: s.Driver()}
	if env.Busybox == "" {
		path, err := exec.LookPath("busybox")
		t.NoError(err, "find a static busybox")
		l.env.Busybox = path
	}
	if env.CgroupParent == "" {
		l.env.CgroupParent = "/strake-test-" + rand.Text()[:8]
	}
	t.Cleanup(l.removeParent)
	return l
}

// crash kills the driver, if it can be killed.
func (l *runtimeLab) crash() { l.d = l.subject.Crash(l.T) }

// box is a container for a case: what is wanted of it, and where it is.
type box struct {
	script string   // for sh, unless args are given
	args   []string // command
	fifo   string   // to be made in the root file system
	io     runtime.IO
	limits map[string]any // linux.resources
	nolog  bool
	userns string // file of a user namespace; its root is firstID

	lab     *runtimeLab
	id      runtime.ContainerID
	dir     string // holds bundle, root file system and log
	request runtime.CreateRequest
	handle  driver.Handle
}

// bundle makes a box's bundle; cleaning up removes the container too.
func (l *runtimeLab) bundle(b box) *box {
	b.lab, b.id, b.dir = l, runtime.ContainerID("c-"+strings.ToLower(rand.Text()[:12])), l.TempDir()
	l.NoError(b.makeRoot(), "make a root file system")
	l.NoError(b.makeSpec(), "make a bundle")
	l.NoError(b.letIn(), "let the user namespace in")
	if !b.nolog && b.io.Log.Path == "" {
		b.io.Log.Path = b.dir + "/log"
	}
	b.request = runtime.CreateRequest{
		ID: b.id, Bundle: b.dir, IO: b.io,
		Rootfs: []mount.Mount{{Type: "bind", Source: b.dir + "/files", Options: []string{"rbind", "rw"}}},
	}
	if b.userns != "" {
		b.request.Rootfs[0].Options = append(b.request.Rootfs[0].Options, mount.IDMap+"="+b.userns)
	}
	l.made = append(l.made, &b)
	l.Cleanup(func() {
		if _, err := l.subject.Driver().Delete(context.WithoutCancel(l.ctx), b.id, true); err != nil {
			l.Errorf("clean up: delete %s: %w", b.id, err)
		}
	})
	return &b
}

func (b *box) makeRoot() error {
	files := b.dir + "/files"
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(files, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(b.dir+"/rootfs", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(files+"/etc/plain", []byte("plain\n"), 0o644); err != nil {
		return err
	}
	provide := linkProgram
	if b.userns != "" {
		provide = copyProgram // a driver that gives files away must not give away the host's
	}
	if err := provide(b.lab.env.Busybox, files+"/bin/busybox"); err != nil {
		return err
	}
	for _, a := range []string{"sh", "sleep", "cat", "true", "dd", "stty", "head", "seq", "yes", "tail"} {
		if err := os.Symlink("busybox", filepath.Join(files, "bin", a)); err != nil {
			return err
		}
	}
	if b.fifo == "" {
		return nil
	}
	return unix.Mkfifo(files+b.fifo, 0o666)
}

// letIn has the root of a user namespace reach the root file system.
func (b *box) letIn() error {
	if b.userns == "" {
		return nil
	}
	for dir := b.dir; dir != "/" && dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // the case's own directories
			return err
		}
	}
	return nil
}

// linkProgram links a program, so that all roots share one inode, or copies it.
func linkProgram(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	return copyProgram(from, to)
}

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// ociProcess is an OCI process object.
func ociProcess(terminal bool, args ...string) map[string]any {
	caps := []string{"CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE"}
	return map[string]any{
		"terminal": terminal, "cwd": "/", "args": args, "env": []string{"PATH=/bin", "TERM=dumb"},
		"user":         map[string]any{"uid": 0, "gid": 0},
		"capabilities": map[string]any{"bounding": caps, "effective": caps, "permitted": caps},
	}
}

func (b *box) makeSpec() error {
	args := b.args
	if args == nil {
		args = []string{"sh", "-c", b.script}
	}
	m := func(dst, fstype string, options ...string) map[string]any {
		return map[string]any{"destination": dst, "type": fstype, "source": fstype, "options": options}
	}
	var spaces []map[string]string
	for _, n := range []string{"pid", "ipc", "uts", "mount"} {
		spaces = append(spaces, map[string]string{"type": n})
	}
	linux := map[string]any{"namespaces": spaces, "cgroupsPath": b.cgroup()}
	if b.limits != nil {
		linux["resources"] = b.limits
	}
	if b.userns != "" {
		ids := []map[string]int{{"containerID": 0, "hostID": firstID, "size": manyIDs}}
		linux["namespaces"] = append(spaces, map[string]string{"type": "user", "path": b.userns})
		linux["uidMappings"], linux["gidMappings"] = ids, ids
	}
	return writeJSON(b.dir+"/config.json", map[string]any{
		"ociVersion": "1.0.2", "hostname": "box", "process": ociProcess(b.io.Terminal, args...),
		"root":  map[string]any{"path": b.dir + "/rootfs"},
		"linux": linux,
		"mounts": []any{
			m("/proc", "proc"), m("/dev", "tmpfs", "nosuid", "mode=755"),
			m("/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620"),
		},
	})
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func (b *box) cgroup() string { return b.lab.env.CgroupParent + "/" + string(b.id) }

// write writes to the box's FIFO, which waits for its reader.
func (b *box) write(text string) {
	f, err := os.OpenFile(b.dir+"/files"+b.fifo, os.O_WRONLY, 0)
	b.lab.NoError(err, "open "+b.fifo)
	_, err = f.WriteString(text)
	b.lab.NoError(errors.Join(err, f.Close()), "write "+b.fifo)
}

func (l *runtimeLab) create(b box) *box {
	p := l.bundle(b)
	h, st, err := l.d.Create(l.ctx, p.request)
	l.NoError(err, "create")
	if st.Status != runtime.Created || st.Pid == 0 || st.Exit != nil || st.ID != p.id {
		l.Errorf("after Create: %+v", st)
	}
	p.handle = h
	return p
}

func (l *runtimeLab) run(b box) *box {
	p := l.create(b)
	_, err := l.d.Start(l.ctx, p.id)
	l.NoError(err, "start")
	return p
}

// startAnyhow creates and starts; either may fail.
func (l *runtimeLab) startAnyhow(b *box) error {
	if _, _, err := l.d.Create(l.ctx, b.request); err != nil {
		return err
	}
	_, err := l.d.Start(l.ctx, b.id)
	_, derr := l.d.Delete(l.ctx, b.id, true)
	l.NoError(derr, "delete what did not start")
	return err
}

func (l *runtimeLab) state(b *box, exec runtime.ExecID) runtime.State {
	st, err := l.d.State(l.ctx, b.id, exec)
	l.NoError(err, "state")
	if (st.Status == runtime.Stopped) != (st.Exit != nil) || (st.Status == runtime.Stopped) != (st.Pid == 0) {
		l.Errorf("state contradicts itself: %+v", st)
	}
	return st
}

func (l *runtimeLab) status(b *box, want runtime.Status) {
	if st := l.state(b, ""); st.Status != want {
		l.Errorf("status is %s, want %s", st.Status, want)
	}
}

// wait returns the exit of a process once it is announced.
func (l *runtimeLab) wait(b *box, exec runtime.ExecID) runtime.Exit {
	e := l.event(func(e runtime.Event) bool {
		return e.Kind == runtime.ProcessExited && e.ID == b.id && e.Exec == exec
	})
	if e.Exit == nil {
		l.Fatalf("event without an exit: %+v", e)
	}
	if st := l.state(b, exec); st.Status != runtime.Stopped || st.Exit == nil || st.Exit.Code != e.Exit.Code {
		l.Errorf("the state after the exit was announced is %+v", st)
	}
	return *e.Exit
}

// event waits for an event.
func (l *runtimeLab) event(want func(runtime.Event) bool) runtime.Event {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	got := make(chan runtime.Event, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- l.d.WatchEvents(ctx, func(e runtime.Event) {
			if want(e) {
				select {
				case got <- e:
				default:
				}
			}
		})
	}()
	select {
	case e := <-got:
		cancel()
		<-ended //nolint:errcheck // it ends with its context
		return e
	case err := <-ended:
		l.Fatalf("the watch ended: %w", err)
	case <-l.ctx.Done():
		l.Fatalf("no such event")
	}
	return runtime.Event{}
}

// gone checks that nothing of a container is left.
func (l *runtimeLab) gone(b *box) {
	_, err := l.d.State(l.ctx, b.id, "")
	l.ErrorIs(err, errdefs.ErrNotFound, "state of what should be gone")
	if dirs := cgroupDirs(b.cgroup()); len(dirs) > 0 {
		l.Errorf("cgroups are left: %v", dirs)
	}
	eventually(l.T, 5*time.Second, "no process is left", func() error {
		if p := processesWith(string(b.id)); len(p) > 0 {
			return fmt.Errorf("process %s", p[0])
		}
		return nil
	})
}

// cgroupDirs finds a cgroup in all hierarchies.
func cgroupDirs(path string) (found []string) {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, err := filepath.Glob(pattern + path)
		if err == nil {
			found = append(found, dirs...)
		}
	}
	return found
}

func (l *runtimeLab) removeParent() {
	eventually(l.T, 5*time.Second, "clean up: remove cgroup "+l.env.CgroupParent, func() error {
		var errs []error
		for _, d := range cgroupDirs(l.env.CgroupParent) {
			if err := unix.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) {
				errs = append(errs, fmt.Errorf("%s: %w", d, err))
			} else if errors.Is(err, unix.EBUSY) && l.empty(d) {
				errs = append(errs, fmt.Errorf("%s: %w", d, err))
			}
		}
		return errors.Join(errs...)
	})
}

// empty tells whether no other case is using the parent.
func (l *runtimeLab) empty(dir string) bool {
	subs, err := filepath.Glob(dir + "/*/cgroup.procs")
	if err != nil || len(subs) == 0 {
		return true
	}
	for _, b := range l.made {
		for _, s := range subs {
			if strings.Contains(s, string(b.id)) {
				return true
			}
		}
	}
	return false
}

// processesWith finds processes that have a word in their arguments.
func processesWith(word string) (found []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/cmdline")
		if err == nil && bytes.Contains(b, []byte(word)) {
			found = append(found, filepath.Base(d)+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

func mountPoints(pid string) (string, error) {
	b, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	return string(b), err
}
