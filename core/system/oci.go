package system

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/driver"
)

// ociRuntime is a program that runs containers, as it calls itself.
type ociRuntime struct{ name, version string }

// ociRuntimes asks OCI runtimes for their versions, each once. Drivers speak
// for themselves; what they run is worth knowing too when something is wrong.
type ociRuntimes struct {
	mu    sync.Mutex
	known map[string]ociRuntime // guarded by mu; by binary
}

// of returns the OCI runtime behind a runtime driver, an empty one when there is
// none to be found.
func (o *ociRuntimes) of(ctx context.Context, c *config.Config, d drivers.Driver) ociRuntime {
	table := c.Runtimes[d.Name]
	if d.Kind != string(driver.Runtime) {
		return ociRuntime{}
	} else if d.Name == c.Runtime.InstanceName() {
		table = c.Runtime
	}
	binary, ok := table.Options["binary"].(string)
	if !ok {
		binary = table.Driver
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.known[binary]
	if !ok {
		r = askVersion(ctx, binary)
		if o.known == nil {
			o.known = map[string]ociRuntime{}
		}
		o.known[binary] = r
	}
	return r
}

// askVersion runs "binary --version", whose first line is "runc version 1.1.5"
// or the like.
func askVersion(ctx context.Context, binary string) ociRuntime {
	path, err := exec.LookPath(binary)
	if err != nil {
		return ociRuntime{}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ociRuntime{}
	}
	line, _, _ := strings.Cut(string(out), "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ociRuntime{}
	}
	return ociRuntime{fields[0], fields[len(fields)-1]}
}
