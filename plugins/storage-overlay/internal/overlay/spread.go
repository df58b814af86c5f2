package overlay

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h, which x/sys lacks: "chattr +T".
const topDir = 0x20000

// spread has ext4 begin each directory that is made in dir in a block group
// with room, chosen by its name, instead of in dir's own. ext4 does not give
// out an inode again within minutes of its deletion and steps over each such
// inode of the group, at every allocation: a layer that is unpacked where
// another one was deleted takes several times as long. Other file systems have
// no such flag and no need of it.
func spread(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDir == 0 {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDir))
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("directory %s: set the flag of unrelated directories: %w", dir, err)
	}
	return nil
}
