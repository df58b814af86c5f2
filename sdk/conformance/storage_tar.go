package conformance

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"
)

// entry is one entry of a layer that a case makes.
type entry struct {
	tar.Header
	content string
}

// stamp is the time of all entries that name none.
var stampUnix int64 = 1234567890

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func directory(name string, mode int64) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

func node(name string, kind byte, major, minor int64) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Mode: 0o640, Devmajor: major, Devminor: minor}, ""}
}

// archived makes an archive; an error of the maker's ends the case.
func archived(t interface{ NoError(error, string) }, entries ...entry) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.content))
		}
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = time.Unix(stampUnix, 0)
		}
		if h.ModTime.Nanosecond() != 0 || !h.AccessTime.IsZero() {
			h.Format = tar.FormatPAX
		}
		t.NoError(tw.WriteHeader(&h), "make an archive")
		if h.Typeflag == tar.TypeReg {
			_, err := tw.Write([]byte(e.content))
			t.NoError(err, "make an archive")
		}
	}
	t.NoError(tw.Close(), "make an archive")
	return b.Bytes()
}

// rawHeader is a tar header written by hand, for what archive/tar does not
// write.
type rawHeader [512]byte

func newRawHeader(name string, kind byte, size int64) *rawHeader {
	h := &rawHeader{}
	h.put(0, name)
	h.put(100, "0000644\x00")
	h.put(108, "0000000\x00")
	h.put(116, "0000000\x00")
	h.put(124, fmt.Sprintf("%011o\x00", size))
	h.put(136, fmt.Sprintf("%011o\x00", stampUnix))
	h[156] = kind
	h.put(257, "ustar\x0000")
	return h
}

func (h *rawHeader) put(off int, s string) { copy(h[off:], s) }

// block returns the header with its checksum.
func (h *rawHeader) block() string {
	h.put(148, "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	h.put(148, fmt.Sprintf("%06o\x00 ", sum))
	return string(h[:])
}

func padded(s string) string { return s + strings.Repeat("\x00", (512-len(s)%512)%512) }

const endOfArchive = 1024

func closed(blocks string) []byte { return []byte(blocks + strings.Repeat("\x00", endOfArchive)) }

func paxBlock(records ...string) string {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 2
		for n != len(fmt.Sprint(n))+len(r)+2 {
			n = len(fmt.Sprint(n)) + len(r) + 2
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return newRawHeader("pax", 'x', int64(b.Len())).block() + padded(b.String())
}

// A sparse file of 1 MiB and a bit: "head" at the start, "tail" at 1 MiB.
const (
	sparseTail = 1 << 20
	sparseSize = sparseTail + 512
)

// sparseLayers are the same file in the four formats of GNU tar.
func sparseLayers() map[string][]byte {
	head, tail := padded("head"), padded("tail")
	old := newRawHeader("sparse", 'S', 1024)
	old.put(257, "ustar  \x00")
	for i, n := range []int64{0, 512, sparseTail, 512} {
		old.put(386+12*i, fmt.Sprintf("%011o\x00", n))
	}
	old.put(483, fmt.Sprintf("%011o\x00", sparseSize))
	list := padded(fmt.Sprintf("2\n0\n512\n%d\n512\n", sparseTail))
	body := newRawHeader("GNUSparseFile.0/sparse", '0', 1024).block() + head + tail
	return map[string][]byte{
		"old": closed(old.block() + head + tail),
		"0.0": closed(paxBlock(fmt.Sprintf("GNU.sparse.size=%d", sparseSize), "GNU.sparse.numblocks=2",
			"GNU.sparse.offset=0", "GNU.sparse.numbytes=512",
			fmt.Sprintf("GNU.sparse.offset=%d", sparseTail), "GNU.sparse.numbytes=512", "path=sparse") + body),
		"0.1": closed(paxBlock("GNU.sparse.name=sparse", fmt.Sprintf("GNU.sparse.size=%d", sparseSize), "GNU.sparse.numblocks=2",
			fmt.Sprintf("GNU.sparse.map=0,512,%d,512", sparseTail)) + body),
		"1.0": closed(paxBlock("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=sparse",
			fmt.Sprintf("GNU.sparse.realsize=%d", sparseSize)) +
			newRawHeader("GNUSparseFile.0/sparse", '0', int64(1024+len(list))).block() + list + head + tail),
	}
}
