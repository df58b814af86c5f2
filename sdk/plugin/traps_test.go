package plugin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
)

func prepare(t *testing.T, s storage.Driver, key storage.SnapshotKey) (string, error) {
	t.Helper()
	m, err := s.Prepare(t.Context(), key, "", storage.PrepareOptions{})
	if err != nil || len(m) == 0 {
		return "", err
	}
	return m[0].Source + strings.Join(m[0].Options, "\n"), nil
}

// until waits for a condition that must come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: ", what)
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// startHost runs a host in a process of its own and returns its driver's pid.
func startHost(t *testing.T, as string) (host *exec.Cmd, driver int, dir string) {
	t.Helper()
	dir = filepath.Dir(launchConfig(t, "").SocketDir)
	host = exec.CommandContext(t.Context(), "/proc/self/exe")
	host.Env = []string{actAs + "=" + as, "DIR=" + dir}
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	driver, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	t.Cleanup(func() { syscall.Kill(driver, syscall.SIGKILL) })
	return host, driver, dir
}

func TestADriverEndsWhenItsHostIsKilled(t *testing.T) {
	host, driver, dir := startHost(t, "host")
	host.Process.Kill()
	host.Wait()
	until(t, "the driver ends", func() bool { return !alive(driver) })

	// Its sockets are swept by the next host.
	left, _ := filepath.Glob(dir + "/s/l-*")
	if len(left) != 1 {
		t.Fatalf("expected one directory to be left: %v", left)
	}
	c := launchConfig(t, "full")
	c.SocketDir = dir + "/s"
	next, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left[0]); !os.IsNotExist(err) {
		t.Errorf("%s is still there", left[0])
	}
	next.Kill()
}

// Whatever keeps a driver from ending with its host, it must not go on beside its
// successor.
func TestDriversOfADeadHostAreEndedBeforeTheNextLaunch(t *testing.T) {
	host, driver, dir := startHost(t, "host of survivor")
	host.Process.Kill()
	host.Wait()
	hang(t, driver)
	c := launchConfig(t, "full")
	c.SocketDir = dir + "/s"
	next, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Kill()
	if alive(driver) {
		t.Error("it is still there")
	}
}

func TestADriverThatSurvivesItsHostGoesOnWritingToBothStreams(t *testing.T) {
	host, driver, dir := startHost(t, "host of survivor")
	host.Process.Kill()
	host.Wait()
	size := func() int64 {
		fi, err := os.Stat(dir + "/beats")
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	before := size()
	until(t, "the driver goes on", func() bool { return size() > before+100 })
	if !alive(driver) {
		t.Error("it is dead")
	}
}

func TestWhatADriverPrintsGoesToItsLogAndStallsNothing(t *testing.T) {
	c := launchConfig(t, "full")
	p, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	s, _ := p.Storage()
	if _, err := prepare(t, s, "print"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.LogPath)
	if err != nil || len(b) < 2*1000*1001 {
		t.Errorf("the log has %d bytes, %v", len(b), err)
	}
}

func TestTheEnvironmentIsClean(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	t.Setenv("GORACE", "exitcode=66") // or make race sees no race of a driver
	_, s := launch(t, "full")
	env, err := prepare(t, s, "env")
	if err != nil || strings.Contains(env, "hush") || !strings.Contains(env, "PATH=") || !strings.Contains(env, "GORACE=") {
		t.Errorf("%s\n%v", env, err)
	}
	if strings.Contains(env, "PLUGIN_CLIENT_CERT") {
		t.Error("AutoMTLS is on: launches take 60 ms more")
	}
}

func TestProgramsThatADriverStartsInheritNothing(t *testing.T) {
	_, s := launch(t, "full")
	out, err := prepare(t, s, "child")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(out)
	// What the test itself inherited is passed on by everybody.
	inherited, err := exec.CommandContext(t.Context(), "grep", "SigIgn", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	before, err := strconv.ParseUint(strings.Fields(string(inherited))[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if ignored, err := strconv.ParseUint(f[1], 16, 64); err != nil || ignored&^before != 0 {
		t.Errorf("ignored signals, which a container would inherit: %s, of which the test had %x", f[1], before)
	}
	own, err := exec.CommandContext(t.Context(), "ls", "/proc/self/fd").Output()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Fields(string(own)), f[2:]); d != "" {
		t.Errorf("open descriptors: %s", d)
	}
}

// hang stops a process and waits until all of it stands still.
func hang(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "it stops", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tasks {
			if b, err := os.ReadFile(f); err != nil || !strings.Contains(string(b), ") T ") {
				return false
			}
		}
		return true
	})
}

func TestAHungDriverCanBeKilled(t *testing.T) {
	p, s := launch(t, "full")
	hang(t, p.Pid())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Mounts(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call: %v", err)
	}
	p.Kill()
	<-p.Dead()
	if alive(p.Pid()) {
		t.Error("it is alive")
	}
	p.Kill() // again
}

func TestAHungDriverIsKilledWhenItDoesNotShutDownInTime(t *testing.T) {
	p, _ := launch(t, "full")
	hang(t, p.Pid())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-p.Dead()
}

func TestADriverShutsDownInGoodOrder(t *testing.T) {
	p, _ := launch(t, "full")
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-p.Dead()
	if got := p.Outcome(); got != "exit status 0" {
		t.Error(got)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before, _ := filepath.Glob("/tmp/plugin*")
	c := launchConfig(t, "full")
	p, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	left, err := os.ReadDir(c.SocketDir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	if after, _ := filepath.Glob("/tmp/plugin*"); len(after) > len(before) {
		t.Errorf("sockets in /tmp: %v", after)
	}
}

func TestADriverThatDiesInACallIsALostConnection(t *testing.T) {
	p, s := launch(t, "full")
	_, err := prepare(t, s, "exit")
	if !errors.Is(err, plugin.ErrLost) || !errdefs.IsUnavailable(err) {
		t.Errorf("%v", err)
	}
	<-p.Dead()
	if p.Outcome() != "exit status 1" {
		t.Error(p.Outcome())
	}
	if _, err := prepare(t, s, "k"); !errors.Is(err, plugin.ErrLost) || strings.Contains(err.Error(), "rpc error") {
		t.Errorf("after its death: %v", err)
	}
}

func TestMessagesMayBeLargeButNotHuge(t *testing.T) {
	_, s := launch(t, "full")
	for size, ok := range map[int64]bool{8 << 20: true, 17 << 20: false} {
		m, err := s.Prepare(t.Context(), "big", "", storage.PrepareOptions{SizeLimit: size})
		if ok && (err != nil || int64(len(m[0].Source)) != size) {
			t.Error(err)
		}
		if !ok && !errdefs.IsResourceExhausted(err) {
			t.Error(err)
		}
	}
}
