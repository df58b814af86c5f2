// Package archive unpacks OCI layers into directories and makes layers from
// directories (OCI image specification, "Image Layer Filesystem Changeset").
//
// Unpack is safe for archives from strangers: whatever their names, links and
// headers say, nothing outside the destination is read or written. It is built
// for speed, too: parent directories are resolved once, by openat2(2) with
// RESOLVE_IN_ROOT, and kept as descriptors, so that an entry costs the few
// system calls that make it and no walk of its path.
//
// Symbolic links in the parents of a name are followed as a process would
// follow them whose root is the destination.
//
// It needs Linux 5.6 and privileges to change owners and make device nodes.
package archive

import (
	"fmt"
	"slices"
	"strings"
)

// Whiteouts says what becomes of the entries that remove files of lower
// layers.
type Whiteouts int

const (
	// Delete applies whiteouts to a directory that holds the lower layers'
	// files already: they are removed.
	Delete Whiteouts = iota
	// Overlay keeps whiteouts in the form of overlayfs, in a directory that
	// becomes one of its layers: character devices 0/0 and the extended
	// attribute trusted.overlay.opaque.
	Overlay
)

// Names of whiteouts (OCI image specification, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // AUFS's own files, of no use to anybody else
)

const (
	opaqueXattr = "trusted.overlay.opaque"
	paxXattr    = "SCHILY.xattr."
	maxName     = 4095 // PATH_MAX without its NUL
	// maxNames bounds the bytes of directories' names that one Unpack keeps
	// in mind.
	maxNames = 64 << 20
	// maxTimes bounds the directories whose times it keeps in mind.
	maxTimes = 1 << 20
)

// Options qualify Unpack.
type Options struct {
	Whiteouts Whiteouts
	// MaxSize bounds the sizes of all files together in bytes, holes counted.
	// Zero: 128 GiB.
	MaxSize int64
	// MaxEntries bounds the entries, and with them the inodes that are used.
	// Zero: 10 million.
	MaxEntries int64
}

const (
	defaultMaxSize    = 128 << 30
	defaultMaxEntries = 10_000_000
)

// Result says what Unpack did.
type Result struct {
	// Bytes of file content written.
	Bytes int64
	// Entries applied, whiteouts counted.
	Entries int64
	// Pending is what only the lower layers can decide, in mode Overlay.
	Pending Pending
}

// Pending names directories of an unpacked layer that Settle looks at again
// once the layers below are known, "." for the root.
type Pending struct {
	// Implicit are directories that the archive uses without an entry of
	// their own. They were made with mode 0755, owner root; they are to have
	// the attributes that the lower layers give them.
	Implicit []string `json:"implicit,omitempty"`
	// Whiteouts are directories that hold whiteouts. Where the lower layers
	// have no such directory, overlayfs would show them.
	Whiteouts []string `json:"whiteouts,omitempty"`
}

// Empty reports whether nothing is pending.
func (p Pending) Empty() bool { return len(p.Implicit) == 0 && len(p.Whiteouts) == 0 }

// Add returns what is pending in p or q.
func (p Pending) Add(q Pending) Pending {
	return Pending{Implicit: union(p.Implicit, q.Implicit), Whiteouts: union(p.Whiteouts, q.Whiteouts)}
}

func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// EntryError is a failure with one entry of an archive.
type EntryError struct {
	Entry string // name as in the archive
	Err   error
}

// Error names the entry, cut to a readable length.
func (e *EntryError) Error() string {
	name := e.Entry
	if len(name) > 256 {
		name = name[:253] + "..."
	}
	return fmt.Sprintf("entry %q: %v", name, e.Err)
}

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// InvalidError says that the archive, not the machine, is at fault.
type InvalidError struct {
	Reason string
	Err    error // what the kernel or package tar said, may be nil
}

// Error returns the reason, with the cause.
func (e *InvalidError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// LimitError says that an archive is larger than the options allow.
type LimitError struct {
	What  string
	Limit int64
}

// Error names the limit.
func (e *LimitError) Error() string { return fmt.Sprintf("more than %d %s", e.Limit, e.What) }

func invalid(format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...)}
}

func invalidBy(err error, reason string) error { return &InvalidError{Reason: reason, Err: err} }

// reservedXattr reports whether overlayfs would take the attribute for one of
// its own marks. Archives must not set them.
func reservedXattr(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.")
}
