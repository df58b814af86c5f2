// Package mount describes file-system mounts that a storage driver hands out
// and that the runtime's shim or the core performs.
//
// It imports nothing beyond the standard library and golang.org/x/sys, since
// the per-container shim links it.
package mount

// Mount is one file-system to mount. A sequence of mounts is performed in
// order.
type Mount struct {
	// Type is the file-system type, "overlay", "erofs", "bind", …
	Type string `json:"type"`
	// Source is the device, directory or image file.
	Source string `json:"source"`
	// Target is a path below the root that is being assembled; empty means
	// the root itself.
	Target string `json:"target,omitempty"`
	// Options are file-system options and mount flags in fstab notation,
	// for example "ro", "lowerdir=/a:/b".
	Options []string `json:"options,omitempty"`
}
