package stdcopy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/pkg/stdcopy"
)

func TestClientsReadWhatWasWritten(t *testing.T) {
	var wire, out, errs bytes.Buffer
	long := strings.Repeat("x", 3*maxFrame+7)
	for _, p := range []string{"a", "", long} {
		if n, err := (Writer{&wire, stdcopy.Stdout}).Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(p), err)
		}
	}
	if _, err := (Writer{&wire, stdcopy.Stderr}).Write([]byte("oops")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdcopy.StdCopy(&out, &errs, &wire); err != nil {
		t.Fatal(err)
	}
	if out.String() != "a"+long || errs.String() != "oops" {
		t.Errorf("got %d bytes and %q", out.Len(), errs.String())
	}
}

func TestFramesAreTakenApart(t *testing.T) {
	const head = "\x00\x00\x00\x00\x00\x00"
	long := strings.Repeat("y", wholeFrame+1)
	for name, c := range map[string]struct{ in, out, errs, err string }{
		"nothing":            {},
		"both streams":       {in: "\x01" + head + "\x02ab\x02" + head + "\x01c", out: "ab", errs: "c"},
		"standard input":     {in: "\x00" + head + "\x02ab", out: "ab"},
		"an empty frame":     {in: "\x01" + head + "\x00\x02" + head + "\x01c", errs: "c"},
		"longer than held":   {in: "\x02\x00\x00\x00\x00\x01\x00\x01" + long, errs: long},
		"cut in the header":  {in: "\x01" + head + "\x01a\x01\x00", out: "a"},
		"cut in the frame":   {in: "\x01" + head + "\x09abc", out: "abc"},
		"no such stream":     {in: "\x01" + head + "\x01a\x04" + head + "\x01b", out: "a", err: "unrecognized stream: 4"},
		"an error":           {in: "\x03" + head + "\x04oops", err: "oops"},
		"an error, cut":      {in: "\x03" + head + "\x09oops", err: "oops"},
		"an error, too long": {in: "\x03\x00\x00\x00\x7f\xff\xff\xff" + long, err: "yyy"},
	} {
		for form, r := range map[string]io.Reader{"at once": strings.NewReader(c.in), "byte a time": iotest.OneByteReader(strings.NewReader(c.in))} {
			var out, errs bytes.Buffer
			err := Copy(&out, &errs, r)
			if out.String() != c.out || errs.String() != c.errs || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || err != nil && len(err.Error()) > 2*maxMessage {
				t.Errorf("%s, %s: %.40q (%d) and %.40q (%d), %.80v", name, form, out.String(), out.Len(), errs.String(), errs.Len(), err)
			}
		}
	}
	if err := Copy(io.Discard, io.Discard, iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an error of the connection: %v", err)
	}
}

// A header may say four gigabytes: whoever sent it has cost nobody any memory.
func TestALengthIsNotBelieved(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		for _, stream := range []string{"\x01", "\x02", "\x03"} {
			if err := Copy(io.Discard, io.Discard, strings.NewReader(stream+"\x00\x00\x00\xff\xff\xff\xffabc")); (err != nil) != (stream == "\x03") {
				t.Errorf("stream %q: %v", stream, err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 300*4*wholeFrame {
		t.Errorf("300 lying headers took %d bytes", got)
	}
}

// FuzzCopy feeds the reader what is no frame, and compares it with Docker's where
// that can be trusted: with lengths that are small.
func FuzzCopy(f *testing.F) {
	for _, s := range []string{
		"", "\x01\x00\x00\x00\x00\x00\x00\x05hello", "\x02\x00\x00\x00\x00\x00\x00\x02no\x01\x00\x00\x00\x00\x00\x00\x00",
		"\x03\x00\x00\x00\x00\x00\x00\x04oops", "\x01\x00\x00\x00\xff\xff\xff\xffx", "\x04\x00\x00\x00\x00\x00\x00\x01x",
		"\x01\x00\x00", "\x00\x01\x02\x03\x00\x00\x00\x01x", "HTTP/1.1 200 OK\r\n\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, slowly bool) {
		var r io.Reader = bytes.NewReader(in)
		if slowly {
			r = iotest.OneByteReader(r)
		}
		var out, errs bytes.Buffer
		err := Copy(&out, &errs, r)
		if out.Len()+errs.Len() > len(in) {
			t.Errorf("%d bytes became %d", len(in), out.Len()+errs.Len())
		}
		for rest := in; len(rest) >= HeaderSize; {
			n := uint64(binary.BigEndian.Uint32(rest[4:]))
			if n > 1<<20 {
				return
			}
			rest = rest[min(uint64(len(rest)), HeaderSize+n):]
		}
		var wantOut, wantErrs bytes.Buffer
		_, wantErr := stdcopy.StdCopy(&wantOut, &wantErrs, bytes.NewReader(in))
		if wantErr == nil && err != nil && !strings.Contains(err.Error(), "error from daemon") || wantErr != nil && err == nil {
			t.Errorf("%q: %v, Docker's reader says %v", in, err, wantErr)
		}
		if !bytes.HasPrefix(out.Bytes(), wantOut.Bytes()) || !bytes.HasPrefix(errs.Bytes(), wantErrs.Bytes()) {
			t.Errorf("%q: %q and %q, Docker's reader has %q and %q", in, out.Bytes(), errs.Bytes(), wantOut.Bytes(), wantErrs.Bytes())
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("hello"), []byte("world"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var wire, out, errs bytes.Buffer
		for _, w := range []struct {
			stream stdcopy.StdType
			p      []byte
		}{{stdcopy.Stdout, a}, {stdcopy.Stderr, b}} {
			if _, err := (Writer{&wire, w.stream}).Write(w.p); err != nil {
				t.Fatal(err)
			}
		}
		if err := Copy(&out, &errs, &wire); err != nil || !bytes.Equal(out.Bytes(), a) || !bytes.Equal(errs.Bytes(), b) {
			t.Errorf("got %q %q, %v", out.Bytes(), errs.Bytes(), err)
		}
	})
}
