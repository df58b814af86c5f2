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
	// MaxLayerSize bounds the files of one layer in bytes, holes counted;
	// MaxLayerEntries its entries.
	MaxLayerSize    int64 `json:"max_layer_size"`
	MaxLayerEntries int64 `json:"max_layer_entries"`
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
    "max_layer_size": {
      "type": "integer", "minimum": 1,
      "description": "Most bytes that the files of one layer may have, holes counted. Default: 137438953472 (128 GiB)."
    },
    "max_layer_entries": {
      "type": "integer", "minimum": 1,
      "description": "Most files, directories and links that one layer may have. Default: 10000000."
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
	if o.MaxLayerSize < 0 || o.MaxLayerEntries < 0 {
		return options{}, fmt.Errorf("max_layer_size and max_layer_entries: %w: must be above 0", errdefs.ErrInvalidArgument)
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
