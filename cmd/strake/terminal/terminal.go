// Package terminal puts the CLI's terminal into raw mode, follows its size and
// carries signals and detach keys.
package terminal

import (
	"io"
	"os"
	"os/signal"
	"sync"

	"github.com/moby/term"
	"golang.org/x/sys/unix"
)

// IsTerminal says whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// Size returns a terminal's size in cells, zero when it is none.
func Size(stream any) (height, width uint) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, 0
	}
	w, err := term.GetWinsize(f.Fd())
	if err != nil {
		return 0, 0
	}
	return uint(w.Height), uint(w.Width)
}

// Raw puts a terminal into raw mode. restore undoes it and may be called more
// than once; for a stream that is no terminal nothing happens.
func Raw(stream any) (restore func() error, err error) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(f.Fd()) {
		return func() error { return nil }, nil
	}
	state, err := term.SetRawTerminal(f.Fd())
	if err != nil {
		return nil, err
	}
	return sync.OnceValue(func() error { return term.RestoreTerminal(f.Fd(), state) }), nil
}

// WatchSize calls resize with the terminal's size now and after every change,
// until stop is called.
func WatchSize(stream io.Writer, resize func(height, width uint)) (stop func()) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			if h, w := Size(stream); h > 0 && w > 0 {
				resize(h, w)
			}
			select {
			case <-done:
				return
			case <-changes:
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(changes)
		close(done)
	})
}

// Detacher reads until the detach keys are typed; then it returns Detached.
func Detacher(r io.Reader, keys []byte) io.Reader { return term.NewEscapeProxy(r, keys) }

// ParseDetachKeys reads Docker's notation, "ctrl-p,ctrl-q"; empty is that
// default.
func ParseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		s = "ctrl-p,ctrl-q"
	}
	return term.ToBytes(s)
}
