package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/sdk/mount"
)

// probe proves that overlayfs works on the root, with an overlay that is never
// attached to any mount namespace, and returns the options for all overlays.
func probe(o options) ([]string, error) {
	base := append(baseOptions(), o.MountOptions...)
	dir, err := os.MkdirTemp(o.Root, ".probe-")
	if err != nil {
		return nil, err
	}
	err = errors.Join(tryOverlay(dir, base), os.RemoveAll(dir))
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w: overlayfs does not work on it; load the kernel module overlay, or set option root to a directory on ext4, xfs or btrfs: %w",
			o.Root, errdefs.ErrFailedPrecondition, err)
	}
	return base, nil
}

// baseOptions turn features off that would tie a layer to its neighbours:
// layers are read, diffed and moved on their own. Where the kernel does not
// know a feature, it needs no turning off.
func baseOptions() []string {
	var opts []string
	for _, feature := range []string{"index", "redirect_dir", "metacopy"} {
		if _, err := os.Stat("/sys/module/overlay/parameters/" + feature); err == nil {
			opts = append(opts, feature+"=off")
		}
	}
	return opts
}

// tryOverlay makes an overlay, removes a file and replaces a directory in it,
// and looks for the marks in the upper directory.
func tryOverlay(dir string, base []string) (err error) {
	for _, sub := range []string{"lower", "lower/dir", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(dir+"/lower/file", nil, 0o600); err != nil {
		return err
	}
	opts := append([]string{
		"lowerdir=" + mount.EscapeLayer(dir+"/lower"),
		"upperdir=" + mount.EscapeLayer(dir+"/upper"),
		"workdir=" + mount.EscapeLayer(dir+"/work"),
	}, base...)
	fd, err := mount.Detached(mount.Mount{Type: "overlay", Source: "overlay", Options: opts})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := change(fd); err != nil {
		return err
	}
	return checkMarks(dir + "/upper")
}

// change does in the overlay what needs marks.
func change(fd int) error {
	if err := unix.Unlinkat(fd, "file", 0); err != nil {
		return fmt.Errorf("remove a file of the lower layer: %w", err)
	}
	if err := unix.Unlinkat(fd, "dir", unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("remove a directory of the lower layer: %w", err)
	}
	if err := unix.Mkdirat(fd, "dir", 0o755); err != nil {
		return fmt.Errorf("make a removed directory again: %w", err)
	}
	return nil
}

func checkMarks(upper string) error {
	var st unix.Stat_t
	if err := unix.Lstat(upper+"/file", &st); err != nil {
		return fmt.Errorf("look for the whiteout: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return errors.New("whiteouts are not character devices 0/0")
	}
	var b [1]byte
	if _, err := unix.Lgetxattr(upper+"/dir", "trusted.overlay.opaque", b[:]); err != nil || string(b[:]) != "y" {
		return errors.Join(errors.New("opaque directories are not marked with trusted.overlay.opaque"), err)
	}
	return nil
}
