package mount

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLower is overlayfs's own limit (OVL_MAX_STACK).
const maxLower = 500

// layers are the directories of an overlay.
type layers struct {
	lower       []string // top first
	upper, work string   // empty: a read-only overlay
	data        []string // the other options
}

// overlay mounts an overlay on target. mount(2) takes one page of options,
// which some 60 layers fill; more go through the newer mount interface or,
// before Linux 6.13, through names that are descriptors' numbers.
func overlay(source string, target int, o options) error {
	if data := strings.Join(o.data, ","); len(data) < os.Getpagesize() {
		return unix.Mount(source, fdPath(target), "overlay", o.set, data)
	}
	l, err := parseLayers(o.data)
	if err != nil {
		return err
	}
	err = l.mountFds(source, target, o)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, errNoFdLayers) {
		err = l.mountShort(source, target, o.set)
	}
	return err
}

func parseLayers(data []string) (layers, error) {
	var l layers
	var lower string
	lower, l.data = cut(data, "lowerdir")
	l.upper, l.data = cut(l.data, "upperdir")
	l.work, l.data = cut(l.data, "workdir")
	l.upper, l.work = unescape(l.upper), unescape(l.work)
	l.lower = splitLayers(lower)
	for _, dir := range l.lower {
		if dir == "" {
			return layers{}, errors.New("option lowerdir names an empty path; data-only layers are not supported beside more than a page of options")
		}
	}
	if len(l.lower) > maxLower {
		return layers{}, fmt.Errorf("option lowerdir names %d layers, overlayfs takes %d", len(l.lower), maxLower)
	}
	return l, nil
}

// splitLayers splits at colons that no backslash escapes.
func splitLayers(s string) []string {
	var dirs []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			dirs = append(dirs, unescape(s[start:i]))
			start = i + 1
		}
	}
	return append(dirs, unescape(s[start:]))
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// EscapeLayer quotes a directory's path for the overlay options lowerdir,
// upperdir and workdir.
func EscapeLayer(path string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(path)
}

// errNoFdLayers: this kernel wants layers by name.
var errNoFdLayers = errors.New("overlayfs takes no layers by descriptor")

// mountFds mounts with layers given as descriptors (Linux 6.13).
func (l layers) mountFds(source string, target int, o options) (err error) {
	mnt, err := l.detached(source, o, l.setDirs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(mnt)) }()
	err = unix.MoveMount(mnt, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return wrap("move_mount", err)
}

// detached makes a mount that is attached nowhere. set gives the context the
// layers.
func (l layers) detached(source string, o options, set func(fs int) error) (mnt int, err error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fs)) }()
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return -1, explain(fs, err)
	}
	if err := set(fs); err != nil {
		return -1, err
	}
	if err := l.configure(fs, o); err != nil {
		return -1, err
	}
	mnt, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs(o.set))
	if err != nil {
		return -1, explain(fs, fmt.Errorf("fsmount: %w", err))
	}
	return mnt, nil
}

// setDirs gives the layers one by one, as descriptors.
func (l layers) setDirs(fs int) error {
	for _, dir := range l.lower {
		if err := setDir(fs, "lowerdir+", dir); err != nil {
			return err
		}
	}
	for key, dir := range map[string]string{"upperdir": l.upper, "workdir": l.work} {
		if dir == "" {
			continue
		}
		if err := setDir(fs, key, dir); err != nil {
			return err
		}
	}
	return nil
}

// setNames gives the layers by name, each option within the 255 bytes that
// fsconfig(2) takes.
func (l layers) setNames(fs int) error {
	lower := make([]string, 0, len(l.lower))
	for _, dir := range l.lower {
		lower = append(lower, EscapeLayer(dir))
	}
	opts := map[string]string{
		"lowerdir": strings.Join(lower, ":"), "upperdir": EscapeLayer(l.upper), "workdir": EscapeLayer(l.work),
	}
	for key, value := range opts {
		if value == "" {
			continue
		}
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("option %s=%s: %w", key, value, explain(fs, err))
		}
	}
	return nil
}

// setDir gives one layer. The first refusal tells an old kernel.
func setDir(fs int, key, dir string) (err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("layer %s: open: %w", dir, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	err = unix.FsconfigSetFd(fs, key, fd)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", errNoFdLayers, explain(fs, err))
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", dir, explain(fs, err))
	}
	return nil
}

func (l layers) configure(fs int, o options) error {
	for _, d := range l.data {
		key, value, hasValue := strings.Cut(d, "=")
		var err error
		if hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return fmt.Errorf("option %q: %w", d, explain(fs, err))
		}
	}
	if o.set&unix.MS_RDONLY != 0 {
		if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
			return explain(fs, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return explain(fs, err)
	}
	return nil
}

// explain adds the kernel's own words from the context's log.
func explain(fs int, err error) error {
	buf := make([]byte, 1024)
	n, readErr := unix.Read(fs, buf)
	if readErr != nil || n < 2 {
		return err
	}
	_, msg, _ := strings.Cut(string(buf[:n]), " ") // "e overlay: …"
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(msg))
}

// mountShort mounts with every directory named by the number of a descriptor,
// relative to /proc/thread-self/fd: four bytes a layer. The working directory
// is that of a thread of its own, which ends with it and which joins the mount
// namespace of the caller's thread.
func (l layers) mountShort(source string, target int, flags uintptr) error {
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the mount namespace: %w", err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		err := enter(ns)
		if err == nil {
			err = l.mountHere(source, target, flags)
		}
		done <- err
	}()
	return errors.Join(<-done, unix.Close(ns))
}

func enter(ns int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working directory: %w", err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join the mount namespace: %w", err)
	}
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return fmt.Errorf("change directory: %w", err)
	}
	return nil
}

func (l layers) mountHere(source string, target int, flags uintptr) (err error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	name := func(dir string) (string, error) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("layer %s: open: %w", dir, err)
		}
		fds = append(fds, fd)
		return strconv.Itoa(fd), nil
	}
	data, err := l.named(name)
	if err != nil {
		return err
	}
	if len(data) >= os.Getpagesize() {
		return fmt.Errorf("options of %d bytes are more than this kernel's mount(2) takes: use fewer layers or Linux 6.13", len(data))
	}
	return unix.Mount(source, fdPath(target), "overlay", flags, data)
}

// named builds the option string with names given by name.
func (l layers) named(name func(string) (string, error)) (string, error) {
	var lower []string
	for _, dir := range l.lower {
		n, err := name(dir)
		if err != nil {
			return "", err
		}
		lower = append(lower, n)
	}
	data := append([]string{"lowerdir=" + strings.Join(lower, ":")}, l.data...)
	for key, dir := range map[string]string{"upperdir": l.upper, "workdir": l.work} {
		if dir == "" {
			continue
		}
		n, err := name(dir)
		if err != nil {
			return "", err
		}
		data = append(data, key+"="+n)
	}
	return strings.Join(data, ","), nil
}

// Detached makes an overlay that is on no directory: it is seen through the
// descriptor only, and gone when that is closed. It is how to find out whether
// overlayfs works somewhere.
func Detached(m Mount) (fd int, err error) {
	o, err := parse(m.Type, m.Options)
	if err != nil {
		return -1, err
	}
	l, err := parseLayers(o.data)
	if err != nil {
		return -1, err
	}
	fd, err = l.detached(m.Source, o, l.setDirs)
	if errors.Is(err, errNoFdLayers) {
		fd, err = l.detached(m.Source, o, l.setNames)
	}
	if err != nil {
		return -1, fmt.Errorf("detached mount of type %s: %w", m.Type, err)
	}
	return fd, nil
}
