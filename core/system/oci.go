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

// ociVersions asks OCI runtimes for their versions, each once. Drivers speak
// for themselves; what they run is worth knowing too when something is wrong.
type ociVersions struct {
	mu    sync.Mutex
	known map[string]string // guarded by mu; by binary
}

// of returns the version of the OCI runtime behind a runtime driver, empty when
// there is none to be found.
func (o *ociVersions) of(ctx context.Context, c *config.Config, d drivers.Driver) string {
	table := c.Runtimes[d.Name]
	if d.Kind != string(driver.Runtime) {
		return ""
	} else if d.Name == c.Runtime.InstanceName() {
		table = c.Runtime
	}
	binary, ok := table.Options["binary"].(string)
	if !ok {
		binary = table.Driver
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	v, ok := o.known[binary]
	if !ok {
		v = askVersion(ctx, binary)
		if o.known == nil {
			o.known = map[string]string{}
		}
		o.known[binary] = v
	}
	return v
}

// askVersion runs "binary --version", whose first line is "runc version 1.1.5"
// or the like.
func askVersion(ctx context.Context, binary string) string {
	path, err := exec.LookPath(binary)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}
