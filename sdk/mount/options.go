package mount

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// options are a mount's options, sorted out.
type options struct {
	// set and clear are the per-mount and file-system flags, MS_*.
	set, clear uintptr
	// bind, and recursive: MS_BIND and MS_REC.
	bind, recursive bool
	// attrSet and attrClear are for the whole tree below, MOUNT_ATTR_*, from
	// options like "rro".
	attrSet, attrClear uint64
	// propagation is MS_SHARED, MS_SLAVE, …, with MS_REC, or zero.
	propagation uintptr
	// idmap is the file of the user namespace that maps owners, or empty.
	idmap string
	// data is for the file-system.
	data []string
}

// flag is the meaning of one option.
type flag struct {
	bit   uintptr
	clear bool
}

// flagOf knows the options that are flags and not the file-system's
// (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS").
func flagOf(o string) (flag, bool) {
	switch o {
	case "ro", "rw":
		return flag{unix.MS_RDONLY, o == "rw"}, true
	case "nosuid", "suid":
		return flag{unix.MS_NOSUID, o == "suid"}, true
	case "nodev", "dev":
		return flag{unix.MS_NODEV, o == "dev"}, true
	case "noexec", "exec":
		return flag{unix.MS_NOEXEC, o == "exec"}, true
	case "sync", "async":
		return flag{unix.MS_SYNCHRONOUS, o == "async"}, true
	case "dirsync":
		return flag{unix.MS_DIRSYNC, false}, true
	case "noatime", "atime":
		return flag{unix.MS_NOATIME, o == "atime"}, true
	case "nodiratime", "diratime":
		return flag{unix.MS_NODIRATIME, o == "diratime"}, true
	case "relatime", "norelatime":
		return flag{unix.MS_RELATIME, o == "norelatime"}, true
	case "strictatime", "nostrictatime":
		return flag{unix.MS_STRICTATIME, o == "nostrictatime"}, true
	case "nosymfollow", "symfollow":
		return flag{unix.MS_NOSYMFOLLOW, o == "symfollow"}, true
	case "silent", "loud":
		return flag{unix.MS_SILENT, o == "loud"}, true
	case "mand", "nomand":
		return flag{unix.MS_MANDLOCK, o == "nomand"}, true
	case "iversion", "noiversion":
		return flag{unix.MS_I_VERSION, o == "noiversion"}, true
	case "remount":
		return flag{unix.MS_REMOUNT, false}, true
	default:
		return flag{}, false
	}
}

// propagationOf knows the options that set a mount's propagation.
func propagationOf(o string) (uintptr, bool) {
	var rec uintptr
	name := o
	if len(o) > 1 && o[0] == 'r' {
		rec, name = unix.MS_REC, o[1:]
	}
	switch name {
	case "shared":
		return unix.MS_SHARED | rec, true
	case "slave":
		return unix.MS_SLAVE | rec, true
	case "private":
		return unix.MS_PRIVATE | rec, true
	case "unbindable":
		return unix.MS_UNBINDABLE | rec, true
	default:
		return 0, false
	}
}

// treeAttrOf knows the recursive forms of flags, as runc names them.
func treeAttrOf(o string) (attr uint64, clear, ok bool) {
	switch o {
	case "rro", "rrw":
		return unix.MOUNT_ATTR_RDONLY, o == "rrw", true
	case "rnosuid", "rsuid":
		return unix.MOUNT_ATTR_NOSUID, o == "rsuid", true
	case "rnodev", "rdev":
		return unix.MOUNT_ATTR_NODEV, o == "rdev", true
	case "rnoexec", "rexec":
		return unix.MOUNT_ATTR_NOEXEC, o == "rexec", true
	default:
		return 0, false, false
	}
}

// parse sorts the options of a mount of type fstype out. Later options win.
func parse(fstype string, opts []string) (options, error) {
	o := options{bind: fstype == "bind" || fstype == "rbind", recursive: fstype == "rbind"}
	for _, s := range opts {
		if err := o.add(s); err != nil {
			return options{}, err
		}
	}
	if o.bind && len(o.data) > 0 {
		return options{}, fmt.Errorf("option %q means nothing for a bind mount", o.data[0])
	}
	return o, nil
}

func (o *options) add(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("option %q holds a NUL byte", s)
	}
	if f, ok := flagOf(s); ok {
		o.flag(f)
		return nil
	}
	if p, ok := propagationOf(s); ok {
		o.propagation = p
		return nil
	}
	if attr, clear, ok := treeAttrOf(s); ok {
		o.treeAttr(attr, clear)
		return nil
	}
	if file, ok := strings.CutPrefix(s, IDMap+"="); ok {
		o.idmap = file
		return nil
	}
	switch s {
	case "", "defaults":
	case "bind":
		o.bind = true
	case "rbind":
		o.bind, o.recursive = true, true
	default:
		o.data = append(o.data, s)
	}
	return nil
}

func (o *options) flag(f flag) {
	if f.clear {
		o.set, o.clear = o.set&^f.bit, o.clear|f.bit
	} else {
		o.set, o.clear = o.set|f.bit, o.clear&^f.bit
	}
}

func (o *options) treeAttr(attr uint64, clear bool) {
	if clear {
		o.attrSet, o.attrClear = o.attrSet&^attr, o.attrClear|attr
	} else {
		o.attrSet, o.attrClear = o.attrSet|attr, o.attrClear&^attr
	}
}

// cut returns the value of the last option key=value in data, and the data
// without any of them.
func cut(data []string, key string) (value string, rest []string) {
	rest = slices.DeleteFunc(slices.Clone(data), func(s string) bool {
		v, found := strings.CutPrefix(s, key+"=")
		if found {
			value = v
		}
		return found
	})
	return value, rest
}
