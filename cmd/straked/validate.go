package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/driver"
)

// validate asks every driver who it is and which options it takes, and checks
// those of the configuration. It configures none and changes nothing.
func validate(ctx context.Context, c *config.Config) error {
	all, err := driver.Check(ctx, c)
	if err != nil {
		return err
	}
	for _, d := range all {
		if _, err := fmt.Fprintf(os.Stdout, "%s driver %s %s: %s\n", d.Kind, d.Name, d.Version, d.Path); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(os.Stdout, "configuration is valid")
	return err
}

// dumpStacks writes the stacks of all goroutines to the log.
func dumpStacks(log hclog.Logger) {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	log.Info("stacks of all goroutines", "stacks", string(buf[:n]))
}

func trim(b []byte) []byte { return bytes.TrimSpace(b) }

// isStraked says whether a process exists and is this program.
func isStraked(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(exe) == "straked"
}
