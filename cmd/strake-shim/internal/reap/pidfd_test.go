package reap

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// A command that ends at once is reaped while its start time is being looked up:
// an exec of it failed with "no such process".
func TestAProcessReapedBetweenOpenAndReadIsGone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed process ended well")
	}
	if _, err := readStat(f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if _, err := Ticks(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ticks of a process that is gone: %v", err)
	}
}

func TestTicksOfALivingProcess(t *testing.T) {
	if ticks, err := Ticks(os.Getpid()); err != nil || ticks == 0 {
		t.Errorf("ticks %d, error %v", ticks, err)
	}
}
