package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/vishvananda/netlink"
)

// insideEnv marks the process that runs inside the namespaces.
const insideEnv = "STRAKE_CONFORMANCE_INSIDE"

func isolated() bool { return os.Getenv(insideEnv) == "cli" }

// isolate runs this program again in network and mount namespaces of its own.
func isolate(ctx context.Context, args []string, out, errOut io.Writer) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideEnv+"=cli")
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return errFailed // shown already
	}
	if err != nil {
		return fmt.Errorf("run in a network namespace: %w", err)
	}
	return nil
}

// enter prepares the namespaces, inside.
func enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set up lo: %w", err)
	}
	return nil
}

// flush removes the packet filter rules of the namespace, as a careless
// administrator would.
func flush(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "nft", "flush", "ruleset").CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft flush ruleset: %w: %s", err, out)
	}
	return nil
}
