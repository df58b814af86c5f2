package content

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestWritingOutBeginsOnceThereIsEnough(t *testing.T) {
	s, err := Open(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	s.Dirtied(earlyEvery - 1)
	if running(s) || s.early.dirty.Load() != earlyEvery-1 {
		t.Fatal("the disk is bothered too early")
	}
	s.Dirtied(1)
	for end := time.Now().Add(10 * time.Second); running(s) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if running(s) || s.early.dirty.Load() != 0 {
		t.Errorf("after enough was written: running %t, counted %d", running(s), s.early.dirty.Load())
	}
}

// running says that there is writing out.
func running(s *Store) bool {
	if !s.early.mu.TryLock() {
		return true
	}
	s.early.mu.Unlock()
	return false
}

// TestAnEarlyFailureIsNotForgotten: the kernel tells of a write error once, and
// then it must not be taken for durable what is lost.
func TestAnEarlyFailureIsNotForgotten(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, "boot")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "", []byte("blob")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s.Dirtied(earlyEvery)
	for end := time.Now().Add(10 * time.Second); running(s) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Flush after what was written out early failed: %v", err)
	}
	if err := s.Flush(t.Context()); err != nil || !s.Has(digest.FromString("blob")) {
		t.Errorf("the next one: %v", err)
	}
}
