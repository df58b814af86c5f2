package engine

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/userns"
)

// remap finds the mapping of containers' ids and has the remapped root pass
// through the state directory to the containers' roots. Without a mapping, root
// alone does.
func (e *Engine) remap() (err error) {
	if e.ids, err = userns.Load(e.config.UsernsRemap); err != nil {
		return fmt.Errorf("userns_remap: %w", err)
	}
	dir := e.config.StateDir
	if e.ids == nil {
		return os.Chown(dir, 0, 0)
	}
	_, gid := e.ids.RootPair()
	if err := os.Chown(dir, 0, gid); err != nil {
		return err
	}
	return passable(filepath.Dir(dir), *e.ids)
}

// passable looks for a directory on the way to the state directory through which
// the remapped root cannot go.
func passable(dir string, ids user.IdentityMapping) error {
	uid, gid := ids.RootPair()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for ; ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		bit := uint32(0o001)
		switch {
		case int(st.Uid) == uid:
			bit = 0o100
		case int(st.Gid) == gid:
			bit = 0o010
		}
		if st.Mode&bit == 0 {
			return fmt.Errorf("userns_remap: containers cannot reach their root file systems through %s: allow it with \"chmod o+x %s\", or choose another state_dir", dir, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}
