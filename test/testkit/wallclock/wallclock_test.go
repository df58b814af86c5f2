package wallclock_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit/wallclock"
)

func TestMain(m *testing.M) {
	wallclock.Main()
	if len(os.Args) == 2 && os.Args[1] == "print" { // a Go program that is launched
		for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			fmt.Println(time.Now().Unix(), time.Since(began).Milliseconds())
		}
	}
	os.Exit(m.Run())
}

// under runs a command under the clock.
func under(t *testing.T, c *wallclock.Clock, command ...string) *exec.Cmd {
	t.Helper()
	line := append(c.Launcher(), command...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

func near(t *testing.T, what, seconds string, want time.Time) {
	t.Helper()
	got, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
	if d := got - want.Unix(); err != nil || d < -2 || d > 2 {
		t.Errorf("%s: the clock shows %q (%v), want %d", what, seconds, err, want.Unix())
	}
}

func TestProgramsAndWhatTheyStartSeeTheClockThatWasSet(t *testing.T) {
	t.Parallel()
	c := wallclock.New(t)
	for _, set := range []time.Duration{0, 24 * time.Hour, 10 * 365 * 24 * time.Hour, -24 * time.Hour, time.Until(time.Unix(3600, 0))} {
		c.Shift(set)
		// The C library, by itself, below a shell, in a static program, and after execs
		// that failed.
		for _, command := range [][]string{
			{"date", "+%s"},
			{"sh", "-c", "true; date +%s"},
			{"busybox", "date", "+%s"},
			{"env", "PATH=" + strings.Repeat("/nonexistent:", 30) + "/usr/bin:/bin", "date", "+%s"},
		} {
			out, err := under(t, c, command...).Output()
			if err != nil {
				t.Fatalf("%q: %v", command, err)
			}
			near(t, fmt.Sprintf("%q at %s", command, set), string(out), c.Now())
		}
	}
	near(t, "the test's own clock", strconv.FormatInt(time.Now().Unix(), 10), c.Now().Add(-time.Until(c.Now())))
}

func TestAGoProgramSeesTheClockJumpAndNoOtherTimePass(t *testing.T) {
	t.Parallel()
	c := wallclock.New(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := under(t, c, self, "print")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // always "signal: killed"
	defer cmd.Process.Kill()
	for i, set := range []time.Duration{0, 10 * 365 * 24 * time.Hour, -24 * time.Hour} {
		c.Shift(set)
		var wall string
		var passed int64
		for range 3 { // one may have been on its way
			if _, err := fmt.Fscan(out, &wall, &passed); err != nil {
				t.Fatal(err)
			}
		}
		near(t, fmt.Sprint("jump ", i), wall, c.Now())
		if real := time.Since(began).Milliseconds(); passed < 0 || passed > real+1000 {
			t.Errorf("jump %d: %d ms have passed by the monotonic clock of %d", i, passed, real)
		}
	}
}
