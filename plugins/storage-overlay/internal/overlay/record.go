package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/storage"
)

// recordVersion is the newest form of records that this driver reads.
const recordVersion = 1

// record is what is known of a snapshot.
type record struct {
	Version int                  `json:"v"`
	Key     storage.SnapshotKey  `json:"key"`
	Parent  storage.SnapshotKey  `json:"parent,omitempty"`
	Kind    storage.SnapshotKind `json:"kind"`
	Created time.Time            `json:"created"`
	Labels  map[string]string    `json:"labels,omitempty"`
	// Seq numbers commits, and Boot is the kernel's boot id at the commit:
	// one that was not synced does not outlive the boot.
	Seq  uint64 `json:"seq,omitempty"`
	Boot string `json:"boot,omitempty"`
	// Opaque: the layer's root hides all layers below.
	Opaque bool `json:"opaque,omitempty"`
}

func (r record) snapshot() storage.Snapshot {
	return storage.Snapshot{Key: r.Key, Parent: r.Parent, Kind: r.Kind, Created: r.Created, Labels: r.Labels}
}

const recordName = "record"

// linkMax is the longest text of a symbolic link.
const linkMax = 4000

// write puts the record into the snapshot directory dir, in place of the
// former.
func (r record) write(dir string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	aside := filepath.Join(dir, recordName+".new")
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(text) <= linkMax {
		err = os.Symlink(string(text), aside)
	} else {
		err = writeFile(aside, text)
	}
	if err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	mishap.Hit(mishap.SnapshotRecord)
	return os.Rename(aside, filepath.Join(dir, recordName))
}

// writeFile is for records too long for a link: contents are not part of the
// journal, so they go to the disk before the name does.
func writeFile(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

// readRecord reads the record of snapshot directory dir.
func readRecord(dir string) (record, error) {
	path := filepath.Join(dir, recordName)
	link, err := os.Readlink(path)
	text := []byte(link)
	if errors.Is(err, syscall.EINVAL) {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("record: %w", err)
	}
	if r.Key == "" || r.Kind == "" {
		return record{}, errors.New("record: incomplete")
	}
	return r, nil
}
