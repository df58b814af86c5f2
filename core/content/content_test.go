package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func open(t *testing.T, dir, boot string) *Store {
	t.Helper()
	s, err := Open(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func of(s string) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromString(s), Size: int64(len(s))}
}

func put(t *testing.T, s *Store, text string) ocispec.Descriptor {
	t.Helper()
	d, err := s.Put(t.Context(), "text/plain", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestABlobIsReadableOnceVerifiedAndDurableOnceFlushed(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	d := put(t, s, "hello")
	for _, when := range []string{"staged", "flushed"} {
		if got, err := s.ReadAll(d.Digest, 100); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, error %v", when, got, err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.blobPath(blobsDir, d.Digest)); err != nil {
		t.Error(err)
	}
	if _, err := s.ReadAll(d.Digest, 4); !errdefs.IsOutOfRange(err) {
		t.Errorf("above the limit: error is %v", err)
	}
	if _, err := s.Open(digest.FromString("other")); !errdefs.IsNotFound(err) {
		t.Errorf("unknown: error is %v", err)
	}
}

func TestWrongBytesNeverBecomeABlob(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	for what, text := range map[string]string{"other bytes": "jello", "too short": "hell", "too long": "hello!"} {
		in, err := s.Ingest(t.Context(), of("hello"))
		if err != nil {
			t.Fatal(err)
		}
		_, werr := io.WriteString(in, text)
		if err := errors.Join(werr, in.Commit()); !errdefs.IsDataLoss(err) {
			t.Errorf("%s: error is %v", what, err)
		}
		if s.Has(of("hello").Digest) {
			t.Errorf("%s: the blob is there", what)
		}
	}
	put(t, s, "hello")
}

func TestDigestsThatAreNoneAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	for _, d := range []digest.Digest{"", "sha256:short", "../../etc/passwd", "sha256:../../../etc/passwd", digest.Digest("sha384:" + strings.Repeat("0", 96))} {
		if _, err := s.Open(d); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: open: error is %v", d, err)
		}
		if _, err := s.Ingest(t.Context(), ocispec.Descriptor{Digest: d}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: ingest: error is %v", d, err)
		}
	}
}

func TestAWriterGoesOnWhereTheLastOneEnded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "boot")
	in, err := s.Ingest(t.Context(), of("hello world"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "hello "); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, "boot") // as after kill -9
	if in, err = s.Ingest(t.Context(), of("hello world")); err != nil {
		t.Fatal(err)
	}
	prefix, err := io.ReadAll(in.Prefix())
	if err != nil || string(prefix) != "hello " || in.Offset() != 6 {
		t.Errorf("prefix is %q, offset %d, error %v", prefix, in.Offset(), err)
	}
	if _, err := io.WriteString(in, "world"); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherBootDropsWhatWasNotFlushed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "first")
	kept := put(t, s, "kept")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := put(t, s, "lost")
	in, err := s.Ingest(t.Context(), of("half"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "ha"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if s = open(t, dir, "first"); !s.Has(lost.Digest) {
		t.Error("the same boot lost a staged blob")
	}
	s = open(t, dir, "second")
	if !s.Has(kept.Digest) || s.Has(lost.Digest) {
		t.Errorf("kept: %v, lost: %v", s.Has(kept.Digest), s.Has(lost.Digest))
	}
	if left, err := os.ReadDir(filepath.Join(dir, ingestDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, error %v", left, err)
	}
}

func TestOneWriterPerBlob(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	var writers, written atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			in, err := s.Ingest(t.Context(), of("hello"))
			if errdefs.IsAlreadyExists(err) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if writers.Add(1) != 1 {
				t.Error("two writers at once")
			}
			_, err = io.WriteString(in, "hello")
			writers.Add(-1)
			written.Add(1)
			if err := errors.Join(err, in.Commit()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if written.Load() != 1 {
		t.Errorf("written %d times", written.Load())
	}
	in, err := s.Ingest(t.Context(), of("other"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Ingest(ctx, of("other")); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that ended: %v", err)
	}
	if err := in.Abort(); err != nil {
		t.Error(err)
	}
}

func TestCollectKeepsWhatItIsTold(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	kept, gone := put(t, s, "kept"), put(t, s, "gone")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	staged := put(t, s, "staged and gone")
	held, err := s.Ingest(t.Context(), of("being written"))
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.Ingest(t.Context(), of("left"))
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Collect(t.Context(), func(d digest.Digest) bool { return d == kept.Digest })
	if err != nil || len(got.Blobs) != 2 || got.Bytes != gone.Size+staged.Size {
		t.Errorf("collected %+v, error %v", got, err)
	}
	if !s.Has(kept.Digest) || s.Has(gone.Digest) || s.Has(staged.Digest) {
		t.Error("the wrong blobs are there")
	}
	if files, err := os.ReadDir(filepath.Join(s.dir, ingestDir)); err != nil || len(files) != 1 {
		t.Errorf("ingests: %v, error %v", files, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), func(digest.Digest) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Join(s.dir, ingestDir)); err != nil || len(files) != 1 {
		t.Errorf("a fresh ingest was swept: %v, error %v", files, err)
	}
}

// What a pull had fetched when the daemon was killed stayed for a day, also after
// a prune had ended the lease that held it.
func TestCollectRemovesTheRestsOfWhatNobodyWants(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	for _, text := range []string{"wanted", "given up"} {
		i, err := s.Ingest(t.Context(), of(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wanted := of("wanted").Digest
	if _, err := s.Collect(t.Context(), func(d digest.Digest) bool { return d == wanted }); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(s.dir, ingestDir))
	if err != nil || len(files) != 1 || files[0].Name() != "sha256-"+wanted.Encoded() {
		t.Errorf("left: %v, error %v", files, err)
	}
}

func TestDraftsGetTheirDigestAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "boot")
	for range 2 { // the second finds the blob there
		d, err := s.Draft()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(d, bytes.NewReader([]byte("hello"))); err != nil {
			t.Fatal(err)
		}
		var held digest.Digest
		got, err := d.Commit(t.Context(), "x", func(d digest.Digest) error { held = d; return nil })
		if err != nil || got.Digest != of("hello").Digest || held != got.Digest || !s.Has(held) {
			t.Errorf("got %v, held %v, error %v", got, held, err)
		}
	}
	if _, err := s.Draft(); err != nil { // left by a killed daemon
		t.Fatal(err)
	}
	open(t, dir, "boot")
	if files, err := os.ReadDir(filepath.Join(dir, ingestDir)); err != nil || len(files) > 0 {
		t.Errorf("left: %v, error %v", files, err)
	}
}

func TestABlobThatChangedOnDiskIsNotReadAsItself(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	d := put(t, s, "hello")
	if err := os.WriteFile(s.blobPath(stagedDir, d.Digest), []byte("jello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAll(d.Digest, 100); !errdefs.IsDataLoss(err) {
		t.Errorf("error is %v", err)
	}
}

// A clock that was set forward by days made drafts garbage while they were being
// written; the times of their files are no reason for anything.
func TestADraftThatIsBeingWrittenIsNeverTooOld(t *testing.T) {
	s := open(t, t.TempDir(), "boot")
	d, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	long := time.Now().AddDate(-10, 0, 0)
	if err := os.Chtimes(d.file.Name(), long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), func(digest.Digest) bool { return false }); err != nil {
		t.Fatal(err)
	}
	desc, err := d.Commit(t.Context(), "", func(digest.Digest) error { return nil })
	if err != nil || !s.Has(desc.Digest) {
		t.Errorf("commit: %v", err)
	}
	// One that nobody writes is nobody's.
	if err := os.WriteFile(filepath.Join(s.dir, ingestDir, draftPrefix+"left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), func(digest.Digest) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Join(s.dir, ingestDir)); err != nil || len(files) != 0 {
		t.Errorf("ingests: %v, error %v", files, err)
	}
}
