package overlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/driver"
)

// options are the driver's options from the config file.
type options struct {
	// Root is where snapshots are kept; empty: the driver's state directory.
	Root string `json:"root"`
	// MountOptions are added to every overlay.
	MountOptions []string `json:"mount_options"`
}

func optionsSchema() json.RawMessage {
	return json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "root": {
      "type": "string",
      "pattern": "^/",
      "description": "Absolute path of the directory that holds the snapshots, on a file system that overlayfs can write to (ext4, xfs, btrfs, tmpfs). Default: the driver's own state directory."
    },
    "mount_options": {
      "type": "array",
      "items": {"type": "string", "minLength": 1, "not": {"pattern": "^(lowerdir|upperdir|workdir|datadir)|[,\\x00]"}},
      "description": "Options added to every overlay, for example [\"nodev\"] or [\"xino=off\"]."
    }
  }
}`)
}

func parseOptions(c driver.Config) (options, error) {
	var o options
	if len(c.Options) > 0 {
		dec := json.NewDecoder(bytes.NewReader(c.Options))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			return options{}, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
		}
	}
	if o.Root == "" {
		o.Root = c.StateDir
	}
	if !filepath.IsAbs(o.Root) {
		return options{}, fmt.Errorf("root %q: %w: not an absolute path", o.Root, errdefs.ErrInvalidArgument)
	}
	for _, m := range o.MountOptions {
		key, _, _ := strings.Cut(m, "=")
		switch strings.TrimSuffix(key, "+") {
		case "lowerdir", "upperdir", "workdir", "datadir", "":
			return options{}, fmt.Errorf("mount_options %q: %w: the driver sets the layers itself", m, errdefs.ErrInvalidArgument)
		}
		if strings.ContainsAny(m, ",\x00") {
			return options{}, fmt.Errorf("mount_options %q: %w: one option an item", m, errdefs.ErrInvalidArgument)
		}
	}
	return o, nil
}
