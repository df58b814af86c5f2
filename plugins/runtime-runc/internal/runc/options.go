package runc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// options are the driver's part of the configuration file.
type options struct {
	Binary        string   `json:"binary"`
	Root          string   `json:"root"`
	Args          []string `json:"args"`
	SystemdCgroup bool     `json:"systemd_cgroup"`
	NoPivot       bool     `json:"no_pivot"`
	ShimCgroup    string   `json:"shim_cgroup"`
	Shortcuts     bool     `json:"shortcuts"`
	SpareShims    int      `json:"spare_shims"`
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "binary": {"type": "string", "minLength": 1, "default": "runc",
      "description": "OCI runtime: a name to be looked up in PATH (runc, crun, ...) or an absolute path"},
    "root": {"type": "string", "pattern": "^/",
      "description": "directory for the OCI runtime's state; by default below the driver's run directory"},
    "args": {"type": "array", "items": {"type": "string"},
      "description": "further global arguments for the OCI runtime"},
    "systemd_cgroup": {"type": "boolean", "default": false,
      "description": "let systemd make cgroups; the containers' cgroupsPath is then slice:prefix:name"},
    "no_pivot": {"type": "boolean", "default": false,
      "description": "do not use pivot_root, for hosts that run from a RAM disk"},
    "shim_cgroup": {"type": "string", "pattern": "^(/.*)?$", "default": "/strake-shims",
      "description": "cgroup v2 path for shims, so that they are not counted or killed with the daemon; empty: stay in the driver's"},
    "shortcuts": {"type": "boolean", "default": true,
      "description": "start and delete containers of a runtime named runc or crun without running it, as its files allow; saves two processes"},
    "spare_shims": {"type": "integer", "minimum": 0, "maximum": 16, "default": 1,
      "description": "how many shims to keep started for containers to come, about 1.1 MiB each; 0: none"}
  }
}`

// defaults are the options where the configuration says nothing.
func defaults() options {
	return options{Binary: "runc", ShimCgroup: "/strake-shims", Shortcuts: true, SpareShims: 1}
}

func parseOptions(raw json.RawMessage) (options, error) {
	o := defaults()
	if len(raw) == 0 {
		return o, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("options: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return o, nil
}

// lookPath finds an OCI runtime by name or path.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("OCI runtime %s: install it, or set binary to another: %w", name, err)
	}
	return filepath.Abs(path)
}

// shimCgroup is the directory, in the hierarchy of version 2, of the cgroup for
// shims; empty when there is none to be, and they stay with the driver.
func shimCgroup(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
		if err == nil {
			return filepath.Join(root, path), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// openCgroup makes the cgroup for shims and opens its directory. It is nil when
// there is none to be. Another daemon may remove it as soon as it is empty, so
// it is made for every shim.
func openCgroup(path string) (*os.File, error) {
	dir, err := shimCgroup(path)
	if err != nil || dir == "" {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cgroup for shims: %w", err)
	}
	return os.Open(dir)
}
