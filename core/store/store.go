// Package store keeps the daemon's records in one bbolt file: tables of JSON
// values by string key. A write transaction is durable when it returns and
// takes one fsync, so callers put what belongs together into one Update.
//
// The file carries a schema number. Older files are migrated in one
// transaction at Open; a file newer than the daemon is refused.
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mishap"
)

// Migration turns the records of the schema before it into those of its own.
// Migrations are listed in order, the first makes schema 2 from schema 1.
type Migration func(tx *Tx) error

// Store is an open file. It is safe for concurrent use.
type Store struct {
	db      *bolt.DB
	boot    string
	reserve reserve
}

// Tx is a transaction over all tables.
type Tx struct {
	tx      *bolt.Tx
	trail   mishap.Trail
	deletes bool
}

var metaBucket = []byte("meta")

const schemaKey = "schema"

// Open opens or makes the file and brings it to schema len(migrations)+1. A
// file in use by another daemon is ErrUnavailable after five seconds.
func Open(path string, migrations []Migration) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("store %s: in use, is another straked running on this state directory?: %w", path, errdefs.ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: open: %w", path, err)
	}
	s := &Store{db: db, boot: bootID(), reserve: reserve{path: path + ".reserve"}}
	if err := s.Update(func(tx *Tx) error { return migrate(tx, migrations) }); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), db.Close())
	}
	return s, nil
}

func migrate(tx *Tx, migrations []Migration) error {
	meta, err := tx.tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	want := len(migrations) + 1
	have := want
	if v := meta.Get([]byte(schemaKey)); v != nil {
		if have, err = strconv.Atoi(string(v)); err != nil {
			return fmt.Errorf("schema number %q is unreadable: %w", v, errdefs.ErrDataLoss)
		}
	}
	if have > want {
		return fmt.Errorf("records have schema %d and this straked knows up to %d, run the newer straked again: %w", have, want, errdefs.ErrFailedPrecondition)
	}
	for ; have < want; have++ {
		if err := migrations[have-1](tx); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", have+1, err)
		}
	}
	return meta.Put([]byte(schemaKey), []byte(strconv.Itoa(want)))
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// BootID identifies the kernel's present boot. Records about kernel state carry
// it, so that after a reboot nothing is taken for running that is not.
func (s *Store) BootID() string { return s.boot }

// Update runs f in a write transaction, durable when Update returns nil. When f
// fails, nothing is changed. On a full disk, an f that deletes records is run
// once more, with space that is kept for that.
func (s *Store) Update(f func(*Tx) error) error {
	deletes, err := s.update(f)
	if deletes && errors.Is(err, unix.ENOSPC) && s.reserve.spend() {
		_, err = s.update(f)
	}
	if err == nil {
		s.reserve.fill()
	}
	return err
}

func (s *Store) update(f func(*Tx) error) (deletes bool, err error) {
	t := &Tx{}
	err = s.db.Update(func(tx *bolt.Tx) error {
		t.tx = tx
		return f(t)
	})
	if err == nil {
		t.trail.Committed()
	}
	return t.deletes, err
}

// View runs f in a read transaction.
func (s *Store) View(f func(*Tx) error) error {
	return s.db.View(func(tx *bolt.Tx) error { return f(&Tx{tx: tx}) })
}

// Table is a named set of records of one type.
type Table[T any] struct{ name []byte }

// NewTable names a table. It is made by its first Put.
func NewTable[T any](name string) Table[T] { return Table[T]{name: []byte(name)} }

// Put writes a record.
func (t Table[T]) Put(tx *Tx, key string, v T) error {
	b, err := tx.tx.CreateBucketIfNotExists(t.name)
	if err != nil {
		return fmt.Errorf("%s %s: put: %w", t.name, key, err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s %s: put: %w", t.name, key, err)
	}
	if err := b.Put([]byte(key), data); err != nil {
		return err
	}
	tx.trail.Touch(string(t.name))
	return nil
}

// Get reads a record; ErrNotFound when there is none.
func (t Table[T]) Get(tx *Tx, key string) (v T, err error) {
	b := tx.tx.Bucket(t.name)
	if b == nil {
		return v, fmt.Errorf("%s %s: %w", t.name, key, errdefs.ErrNotFound)
	}
	data := b.Get([]byte(key))
	if data == nil {
		return v, fmt.Errorf("%s %s: %w", t.name, key, errdefs.ErrNotFound)
	}
	err = t.decode(key, data, &v)
	return v, err
}

// Delete removes a record; one that is gone is no error.
func (t Table[T]) Delete(tx *Tx, key string) error {
	if b := tx.tx.Bucket(t.name); b != nil {
		tx.deletes = true
		tx.trail.Touch(string(t.name))
		return b.Delete([]byte(key))
	}
	return nil
}

// Each calls f for every record in key order until it fails. f must not change
// the table.
func (t Table[T]) Each(tx *Tx, f func(key string, v T) error) error {
	b := tx.tx.Bucket(t.name)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, data []byte) error {
		var v T
		if err := t.decode(string(k), data, &v); err != nil {
			return err
		}
		return f(string(k), v)
	})
}

func (t Table[T]) decode(key string, data []byte, v *T) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s %s: record is unreadable: %w: %w", t.name, key, err, errdefs.ErrDataLoss)
	}
	return nil
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}
