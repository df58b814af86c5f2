package stdio

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// note writes to the shim's own log.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "stdio: "+format+"\n", args...)
}

// input is the writing end of a process's standard input.
type input struct {
	f      *os.File
	tty    bool
	once   bool
	closes func() // called once, after f was closed
	// open is closed when a terminal may be written to: not before the process
	// was started, for until then a Ctrl-C would interrupt the OCI runtime's own
	// process that waits in its place. nil: at once.
	open chan struct{}

	mu   sync.Mutex // guards shut
	shut bool
}

// copy moves what a client sends until it ends. nil: it ended or left.
func (in *input) copy(conn *os.File) error {
	var small [512]byte
	buf := small[:]
	for {
		n, rerr := conn.Read(buf)
		if n > 0 {
			if in.open != nil {
				<-in.open
			}
			if _, err := in.f.Write(buf[:n]); err != nil {
				return err
			}
		}
		if rerr != nil {
			return nil //nolint:nilerr // a reset connection has left too
		}
		if n == len(buf) && n < chunk/2 {
			buf = make([]byte, 2*n)
		}
	}
}

// clientLeft ends the input if it was for one client only.
func (in *input) clientLeft() {
	if !in.once || in.tty {
		return
	}
	if err := in.close(); err != nil {
		note("close stdin: %v", err)
	}
}

func (in *input) closed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.shut
}

// close ends the input. A terminal is told so by its end-of-file character.
func (in *input) close() error {
	if in.tty {
		_, err := in.f.Write([]byte{4})
		return err
	}
	in.mu.Lock()
	shut := in.shut
	in.shut = true
	in.mu.Unlock()
	if shut {
		return nil
	}
	err := in.f.Close()
	in.closes()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
