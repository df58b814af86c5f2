package runc

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An OCI runtime that outlived its shim wrote its pid file into the directory
// that was being removed: it stayed for ever.
func TestARuntimeAtWorkIsKilledWithItsShim(t *testing.T) {
	dir := t.TempDir()
	start := func(pidFile string) (ended chan error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "kill -STOP $$; :", "runc", "create", "--pid-file", pidFile, "id")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return ended
	}
	own, other := start(dir+"/c/pid"), start(dir+"/c2/pid")
	if err := killShimsOf(dir + "/c"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-own:
	case <-time.After(10 * time.Second):
		t.Error("it is at work still")
	}
	select {
	case err := <-other:
		t.Errorf("another container's was ended, too: %v", err)
	default:
	}
}

func TestAContainerWithoutAShimIsNamed(t *testing.T) {
	c := &container{id: "c1", dir: t.TempDir()}
	if err := c.adopt(t.Context()); !errors.Is(err, errNoShim) || !strings.Contains(err.Error(), "c1: its shim was killed") {
		t.Errorf("got %v", err)
	}
}
