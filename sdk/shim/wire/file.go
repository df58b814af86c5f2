package wire

import (
	"encoding/json"
	"os"

	"github.com/strakehq/strake/sdk/mishap"
)

// Load reads a JSON file.
func Load(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Store writes a JSON file aside and renames it into place, so that a reader
// sees the old content or the new, whoever is killed meanwhile. It need not
// survive the machine: no process that it tells of does.
func Store(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	mishap.Hit(mishap.ShimStateAside)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	mishap.Hit(mishap.ShimState)
	return nil
}
