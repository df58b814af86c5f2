package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// vocabulary are the names that the structured fuzzer combines; those of
// things outside the destination among them.
func vocabulary() []string {
	return []string{
		"a", "b", "c", "d", "..", ".", "", "/", "/outside", "/outside/canary", "/outside/dir", "../outside", "../../outside/canary",
		".wh.a", ".wh.b", ".wh..wh..opq", "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/3", "canary", "dir", "a/b", "b/a/..",
	}
}

func types() string { return "\x000123456755xgSLKNZ" }

// entriesFrom makes an archive of what the fuzzer thought up: three bytes an
// entry and up to four names.
func entriesFrom(data []byte) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		c := data[0]
		data = data[1:]
		return c
	}
	words := vocabulary()
	name := func() string {
		s := words[int(next())%len(words)]
		for next()%2 == 1 {
			s += "/" + words[int(next())%len(words)]
		}
		return s
	}
	for len(data) > 0 {
		h := tar.Header{
			Typeflag: types()[int(next())%len(types())], Name: name(), Linkname: name(), Mode: int64(next()) << 4,
			Uid: int(next()), Devminor: int64(next() % 2), ModTime: time.Unix(int64(next()), 0),
		}
		if next()%8 == 0 {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.overlay.opaque": "y"}
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if tw.WriteHeader(&h) != nil {
			continue
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = tw.Write([]byte("text"))
		}
	}
	_ = tw.Close()
	return b.Bytes()
}

// FuzzUnpackEntries combines entries that are each well formed.
func FuzzUnpackEntries(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x08\x00\x00\x00\x00\x01\x00\x01\x00\x01\x13\x00\x00\x00\x01\x01"))
	f.Add([]byte("\x03\x00\x00\x09\x00\x00\x00\x00\x01\x02\x01\x00\x00\x00\x00\x00\x01"))
	for i := range 64 {
		seed := make([]byte, 96)
		for j := range seed {
			seed[j] = byte((i*131 + j*j*7 + j*i) >> (i % 3))
		}
		f.Add(seed)
	}
	j := newJail(f)
	f.Fuzz(func(t *testing.T, data []byte) { unpackBothWays(t, j, entriesFrom(data)) })
}

// FuzzUnpack is fed raw archives.
func FuzzUnpack(f *testing.F) {
	for _, entries := range hostileArchives() {
		f.Add(entries)
	}
	j := newJail(f)
	f.Fuzz(func(t *testing.T, data []byte) { unpackBothWays(t, j, data) })
}

// unpackBothWays wants nothing to get out, and what was unpacked to be sound:
// it can be packed, and unpacked again, and be removed.
func unpackBothWays(t *testing.T, j *jail, data []byte) {
	ctx := t.Context()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, mode := range []Whiteouts{Delete, Overlay} {
		j.confined(t, func() error {
			for range 2 {
				res, err := Unpack(short, "/dest", bytes.NewReader(data), Options{Whiteouts: mode, MaxSize: 16 << 20, MaxEntries: 10_000})
				if err != nil && strings.Contains(err.Error(), "/dest") {
					return fmt.Errorf("an error that speaks of the destination: %w", err)
				}
				if err := Settle(ctx, "/dest", []string{"/outside"}, res.Pending); err != nil {
					return err
				}
			}
			if _, _, err := DiskUsage(ctx, "/dest"); err != nil {
				return err
			}
			return DiffUpper(ctx, io.Discard, "/dest", []string{"/outside"})
		})
	}
}

// hostileArchives are seeds that try to get out.
func hostileArchives() [][]byte {
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o4777, Uid: 1}
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o4777} }
	var all [][]byte
	for _, headers := range [][]tar.Header{
		{file("../outside/new")},
		{file("/outside/new")},
		{file("a/../../outside/canary")},
		{link("l", "/outside"), file("l/canary")},
		{link("l", "../../outside"), file("l/canary"), dir("l/")},
		{link("l", "/outside/canary"), file("l")},
		{hard("h", "/outside/canary"), file("h")},
		{hard("h", "../outside/canary")},
		{link("l", "/outside"), hard("h", "l/canary")},
		{link("l", "/outside/canary"), hard("h", "l")},
		{link("l", "/outside"), file("l/.wh.canary")},
		{link("l", "/outside"), file("l/.wh..wh..opq")},
		{link("l", "/outside"), file(".wh.l")},
		{dir("d"), file("d/f"), link("d", "/outside"), file("d/canary"), dir("d/dir")},
		{link("a", "b"), link("b", "c/.."), link("c", "/outside/dir"), file("a/canary")},
		{link("p", "/proc/self/root/outside"), file("p/canary")},
		{{Typeflag: tar.TypeGNUSparse, Name: "s", Size: 0}},
		{{Typeflag: tar.TypeChar, Name: "w"}},
		{{Typeflag: tar.TypeXGlobalHeader, Name: "g"}},
	} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for _, h := range headers {
			if tw.WriteHeader(&h) != nil {
				continue
			}
		}
		_ = tw.Close()
		all = append(all, b.Bytes())
	}
	return all
}
