package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// StartPodman makes Debian's podman ready, with crun. It has no daemon.
func StartPodman(tb testing.TB, imagesDir string) (*Engine, error) {
	if _, err := exec.LookPath("podman"); err != nil {
		return nil, err
	}
	h, cg := newHost(tb, "podman", imagesDir)
	dir := filepath.Join(h.Dir, "podman")
	for name, text := range map[string]string{
		"containers.conf": fmt.Sprintf("[containers]\ndefault_ulimits = []\n[engine]\nruntime = \"crun\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"+
			"lock_type = \"file\"\ntmp_dir = %q\n[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = %q\n", h.RunDir+"/podman/tmp", dir+"/networks"),
		"storage.conf":    fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", dir+"/storage", h.RunDir+"/podman/storage"),
		"registries.conf": fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", h.Registry),
		"policy.json":     `{"default":[{"type":"insecureAcceptAnything"}]}`,
	} {
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			return nil, err
		}
	}
	e := &Engine{Name: "podman", Host: h, CG: cg, RunArgs: []string{"--cgroup-parent", cg.Containers()}}
	e.command = func(args ...string) *exec.Cmd {
		if args[0] == "pull" {
			args = slices.Insert(args, 1, "--signature-policy", dir+"/policy.json")
		}
		cmd := h.Command("podman", args...)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "DOCKER_") }) // it reads what must exist
		cmd.Env = append(cmd.Env, "CONTAINERS_CONF="+dir+"/containers.conf", "CONTAINERS_STORAGE_CONF="+dir+"/storage.conf",
			"CONTAINERS_REGISTRIES_CONF="+dir+"/registries.conf")
		return cmd
	}
	e.stop = func() error { return errors.New("podman has no daemon") }
	mounted := isMount("/run/netns")
	tb.Cleanup(func() {
		h.Run(e.Command("rm", "-f", "-a", "-t", "0"))
		err := unmountBelow(h.Dir)
		if !mounted && isMount("/run/netns") {
			err = errors.Join(err, syscall.Unmount("/run/netns", 0))
		}
		if err != nil {
			tb.Errorf("clean up after podman: %v", err)
		}
	})
	if r := e.Run("info"); r.Code != 0 {
		return nil, fmt.Errorf("podman info: %s", r.Stderr)
	}
	return e, nil
}

func isMount(dir string) bool { return slices.Contains(mountpoints(), dir) }

// mountpoints lists what is mounted in this mount namespace, in order.
func mountpoints() (list []string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 {
			list = append(list, f[4])
		}
	}
	return list
}

// unmountBelow detaches all mounts below dir, save the tmpfs for its run directory.
func unmountBelow(dir string) error {
	var errs []error
	for _, m := range slices.Backward(mountpoints()) {
		if strings.HasPrefix(m, dir+"/") && m != dir+"/tmpfs" {
			errs = append(errs, syscall.Unmount(m, syscall.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}
