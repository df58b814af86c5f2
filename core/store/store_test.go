package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/store"
)

type fruit struct{ Colour string }

func open(t *testing.T, path string, m ...store.Migration) *store.Store {
	t.Helper()
	s, err := store.Open(path, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRecordsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "strake.db")
	table := store.NewTable[fruit]("fruits")
	s, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(func(tx *store.Tx) error { return table.Put(tx, "apple", fruit{"red"}) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	err = s.View(func(tx *store.Tx) error {
		f, err := table.Get(tx, "apple")
		if err == nil && f.Colour != "red" {
			t.Errorf("apple is %q", f.Colour)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMissingRecordsAndTablesAreNotFound(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	table := store.NewTable[fruit]("fruits")
	get := func() error {
		return s.View(func(tx *store.Tx) error {
			_, err := table.Get(tx, "pear")
			return err
		})
	}
	if err := get(); !errdefs.IsNotFound(err) {
		t.Errorf("no table: %v", err)
	}
	err := s.Update(func(tx *store.Tx) error {
		return errors.Join(table.Delete(tx, "pear"), table.Put(tx, "apple", fruit{}), table.Delete(tx, "pear"))
	})
	if err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
	if err := get(); !errdefs.IsNotFound(err) {
		t.Errorf("no record: %v", err)
	}
}

func TestAFailedUpdateChangesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	table := store.NewTable[fruit]("fruits")
	boom := errors.New("boom")
	err := s.Update(func(tx *store.Tx) error { return errors.Join(table.Put(tx, "apple", fruit{"red"}), boom) })
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	seen := 0
	if err := s.View(func(tx *store.Tx) error { return table.Each(tx, func(string, fruit) error { seen++; return nil }) }); err != nil || seen != 0 {
		t.Errorf("%d records, %v", seen, err)
	}
}

func TestOlderRecordsAreMigratedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	table := store.NewTable[fruit]("fruits")
	s, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.Update(func(tx *store.Tx) error { return table.Put(tx, "apple", fruit{"red"}) }), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	ripen := func(tx *store.Tx) error {
		runs++
		return table.Put(tx, "apple", fruit{"brown"})
	}
	for range 2 {
		s, err := store.Open(path, []store.Migration{ripen})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 1 {
		t.Errorf("the migration ran %d times", runs)
	}
	_, err = store.Open(path, nil)
	if !errdefs.IsFailedPrecondition(err) {
		t.Errorf("records newer than the daemon: %v", err)
	}
}

func TestAFailedMigrationLeavesTheOldSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := store.Open(path, []store.Migration{func(*store.Tx) error { return boom }}); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	open(t, path)
}

func TestUnreadableRecordsAreDataLoss(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	words, numbers := store.NewTable[string]("mixed"), store.NewTable[int]("mixed")
	if err := s.Update(func(tx *store.Tx) error { return words.Put(tx, "k", "v") }); err != nil {
		t.Fatal(err)
	}
	err := s.View(func(tx *store.Tx) error {
		_, err := numbers.Get(tx, "k")
		return err
	})
	if !errdefs.IsDataLoss(err) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	table := store.NewTable[fruit]("fruits")
	for b.Loop() {
		if err := s.Update(func(tx *store.Tx) error { return table.Put(tx, "apple", fruit{"red"}) }); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
