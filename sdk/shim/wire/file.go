package wire

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

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
// survive the machine.
func Store(path string, v any) error { return store(path, v, false) }

// StoreDurably is Store for what must survive the machine, too, where the
// directory does: it is on disk when StoreDurably returns.
func StoreDurably(path string, v any) error { return store(path, v, true) }

func store(path string, v any, durably bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := write(tmp, b, durably); err != nil {
		return err
	}
	mishap.Hit(mishap.ShimStateAside)
	if err := os.Rename(tmp, path); err != nil || !durably {
		return err
	}
	mishap.Hit(mishap.ShimState)
	return syncDir(filepath.Dir(path))
}

func write(path string, b []byte, durably bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durably {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
