package logs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often a follower looks when inotify is not to be had:
// the kernel's default allows 128 instances per user.
const pollInterval = 100 * time.Millisecond

// watcher waits for changes in a log's directory.
type watcher struct {
	inotify *os.File // nil: poll
	buf     []byte
}

func watch(path string) *watcher {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watcher{}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM)
	if err == nil {
		return &watcher{inotify: f, buf: make([]byte, 4096)}
	}
	if f.Close() != nil {
		return &watcher{}
	}
	return &watcher{}
}

// wait returns when something may have changed, or ctx or done ended.
func (w *watcher) wait(ctx context.Context, done <-chan struct{}) {
	if w.inotify == nil {
		w.poll(ctx, done)
		return
	}
	stop := make(chan struct{})
	idle := make(chan struct{})
	go func() { // ends the read below
		defer close(idle)
		select {
		case <-ctx.Done():
		case <-done:
		case <-stop:
			return
		}
		if w.inotify.SetReadDeadline(time.Unix(1, 0)) != nil {
			return
		}
	}()
	_, err := w.inotify.Read(w.buf)
	close(stop)
	<-idle
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.poll(ctx, done)
	}
}

func (w *watcher) poll(ctx context.Context, done <-chan struct{}) {
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-done:
	case <-t.C:
	}
}

func (w *watcher) close() error {
	if w.inotify == nil {
		return nil
	}
	return w.inotify.Close()
}
