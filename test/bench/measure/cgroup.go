package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const cgroups = "/sys/fs/cgroup"

// Cgroup holds all processes of an engine, so that its processor time is counted
// with that of children that have ended. The daemon and its clients live in
// "engine", containers below "containers".
type Cgroup struct {
	// Path is that of the cgroup, as engines take it for a parent.
	Path string
	dir  string // of the hierarchy that counts processor time
	v2   bool
}

// NewCgroup makes one. Close removes it.
func NewCgroup(path string) (*Cgroup, error) {
	c := &Cgroup{Path: path, dir: filepath.Join(cgroups, "cpuacct", path)}
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		c.v2, c.dir = true, filepath.Join(cgroups, path)
	}
	return c, os.MkdirAll(filepath.Join(c.dir, "engine"), 0o755)
}

// Containers is the parent for the cgroups of containers.
func (c *Cgroup) Containers() string { return c.Path + "/containers" }

// Enter has a command that is about to be started by this thread run in the
// cgroup.
func (c *Cgroup) Enter(cmd *exec.Cmd) error {
	dir := filepath.Join(c.dir, "engine")
	if !c.v2 {
		return os.WriteFile(filepath.Join(dir, "tasks"), []byte("0"), 0)
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	cmd.ExtraFiles = append(cmd.ExtraFiles, f) // keeps it open until the start
	return nil
}

// CPU is the processor time so far, in seconds.
func (c *Cgroup) CPU() float64 {
	if c.v2 {
		b, err := os.ReadFile(filepath.Join(c.dir, "cpu.stat"))
		if err != nil {
			return 0
		}
		_, rest, _ := strings.Cut(string(b), "usage_usec ")
		line, _, _ := strings.Cut(rest, "\n")
		n, _ := strconv.ParseFloat(line, 64) // 0 when it cannot be read
		return n / 1e6
	}
	b, err := os.ReadFile(filepath.Join(c.dir, "cpuacct.usage"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return n / 1e9
}

// Processes are all that live in it, containers' too.
func (c *Cgroup) Processes() (pids []int) {
	err := filepath.WalkDir(c.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // what vanishes has no processes
		}
		if d.Name() != "cgroup.procs" {
			return nil
		}
		b, _ := os.ReadFile(p) // empty when it vanished
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return pids
}

// Close removes the cgroup in all hierarchies; engines leave their parents.
func (c *Cgroup) Close() error {
	roots, err := filepath.Glob(cgroups + "/*" + c.Path)
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range append(roots, cgroups+c.Path) {
		errs = append(errs, removeTree(root))
		_ = os.Remove(filepath.Dir(root)) // fails while others live there
	}
	return errors.Join(errs...)
}

func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return nil // what vanishes need not be removed
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		if rmErr := os.Remove(dirs[i]); rmErr != nil && !os.IsNotExist(rmErr) {
			err = fmt.Errorf("cgroup %s: %w", dirs[i], rmErr)
		}
	}
	return err
}
