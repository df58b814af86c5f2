// Package record keeps the driver's state on disk: one file a network under
// the state directory, synced, since networks outlive a reboot; one file an
// endpoint under the run directory, not synced, since an endpoint is gone with
// the kernel that held it. A killed process loses neither.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/strakehq/strake/sdk/mishap"
)

// Dir holds JSON records by key, one file each.
type Dir struct {
	path string
	sync bool
}

// Open makes the directory if needed. With sync, a write is on disk when Put
// returns.
func Open(path string, sync bool) (Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return Dir{}, err
	}
	return Dir{path: path, sync: sync}, nil
}

const suffix = ".json"

// Put writes a record aside and renames it into place.
func (d Dir) Put(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	name := filepath.Join(d.path, key+suffix)
	aside := name + ".tmp"
	if err := d.write(aside, data); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	mishap.Hit(mishap.BridgeRecord)
	if err := os.Rename(aside, name); err != nil {
		return err
	}
	mishap.Hit(mishap.BridgeRecorded)
	return d.syncDir()
}

func (d Dir) write(name string, data []byte) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if !d.sync {
		return nil
	}
	return f.Sync()
}

// Delete removes a record; one that is gone is no error.
func (d Dir) Delete(key string) error {
	err := os.Remove(filepath.Join(d.path, key+suffix))
	mishap.Hit(mishap.BridgeForgot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.syncDir()
}

func (d Dir) syncDir() (err error) {
	if !d.sync {
		return nil
	}
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// Each calls f with the content of every record. Files that were being written
// when the process died are removed.
func (d Dir) Each(f func(key string, data []byte) error) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(d.path, e.Name())
		key, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := f(key, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
