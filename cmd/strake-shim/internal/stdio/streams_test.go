package stdio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/shim/wire"
)

// process is the other end of Streams, without a container.
func process(t testing.TB, io wire.IO) (*Streams, [3]*os.File, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := New(Options{Dir: dir, IO: io, StdinClosed: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	files, _ := s.Child()
	for i, f := range files { // Run closes these
		fd, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = os.NewFile(uintptr(fd), f.Name())
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return s, files, dir
}

func closeAll(t testing.TB, files [3]*os.File) {
	t.Helper()
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOutputIsFramedAndEnds(t *testing.T) {
	s, files, dir := process(t, wire.IO{})
	sock := filepath.Join(dir, "a")
	if err := s.Attach(sock, wire.Streams{Stdout: true, Stderr: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := files[1].WriteString("before anybody came"); err != nil {
		t.Fatal(err)
	}
	closeAll(t, files)
	if err := s.Finish(time.Minute); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x01\x00\x00\x00\x00\x00\x00\x13before anybody came"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.Clients()
	if err := s.Attach(sock, wire.Streams{Stdout: true}); !errors.Is(err, ErrEnded) {
		t.Errorf("attach after the end: %v", err)
	}
}

func TestFinishDoesNotWaitForOthersForEver(t *testing.T) {
	s, files, dir := process(t, wire.IO{Log: wire.Log{Path: filepath.Join(t.TempDir(), "log")}})
	if _, err := files[1].WriteString("held open"); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.io.Log.Path)
	if err != nil || !strings.Contains(string(b), `{"log":"held open","stream":"stdout"`) {
		t.Errorf("log of %s: %q %v", dir, b, err)
	}
	closeAll(t, files)
}

// BenchmarkLog moves lines of 101 bytes from a FIFO into a log.
func BenchmarkLog(b *testing.B) {
	chunk := bytes.Repeat([]byte(strings.Repeat("0123456789", 10)+"\n"), 640)
	s, files, _ := process(b, wire.IO{Log: wire.Log{Path: filepath.Join(b.TempDir(), "log"), MaxSize: 64 << 20, MaxFiles: 2}})
	b.SetBytes(int64(len(chunk)))
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := files[1].Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	closeAll(b, files)
	if err := s.Finish(time.Minute); err != nil {
		b.Fatal(err)
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(b.N)*float64(len(chunk))/1e6/cpu.Seconds(), "MB/cpu-s")
}

// A daemon that died between the answer to an attach and the connection kept the
// shim of a removed container alive for a minute.
func TestAClientThatNeverCameIsNotAwaitedForLong(t *testing.T) {
	s, files, dir := process(t, wire.IO{})
	if err := s.Attach(filepath.Join(dir, "a"), wire.Streams{Stdout: true}); err != nil {
		t.Fatal(err)
	}
	closeAll(t, files)
	if err := s.Finish(time.Minute); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		s.Clients()
	}()
	select {
	case <-left:
	case <-time.After(connectWithin / 2):
		t.Error("still waiting")
	}
}
