package plugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// streams are a driver process's standard streams, put to their real uses.
//
// go-plugin prints its handshake to os.Stdout and then turns os.Stdout and
// os.Stderr into pipes that the host must drain, else writers stall. Here the
// handshake goes to a descriptor of its own, and both end up as the log.
type streams struct {
	lifeline  *os.File // nil when the host holds none
	handshake *os.File
	log       *os.File
	once      sync.Once
}

// takeStreams rearranges the descriptors 0, 1 and 2.
func takeStreams() (*streams, error) {
	s := &streams{log: os.Stderr}
	if os.Getenv(envLifeline) == "stdin" {
		f, err := moveAway(0, "lifeline")
		if err != nil {
			return nil, err
		}
		s.lifeline = f
	}
	f, err := moveAway(1, "handshake")
	if err != nil {
		return nil, err
	}
	s.handshake = f
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("standard streams: %w", err)
	}
	err = errors.Join(unix.Dup3(int(null.Fd()), 0, 0), unix.Dup3(2, 1, 0), null.Close())
	if err != nil {
		return nil, fmt.Errorf("standard streams: %w", err)
	}
	os.Stdout = s.handshake
	return s, nil
}

// moveAway duplicates a descriptor to one that children do not inherit.
func moveAway(fd int, name string) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("standard streams: duplicate %s: %w", name, err)
	}
	// A file that does not block is waited for without a thread.
	if err := unix.SetNonblock(n, true); err != nil {
		return nil, errors.Join(fmt.Errorf("standard streams: %w", err), unix.Close(n))
	}
	return os.NewFile(uintptr(n), name), nil
}

// restore takes os.Stdout and os.Stderr back from go-plugin. It is called when
// the first connection is accepted, which is after go-plugin set them.
func (s *streams) restore() {
	s.once.Do(func() {
		os.Stdout, os.Stderr = s.log, s.log
		_ = s.handshake.Close() // the handshake is done
	})
}

// watchLifeline ends the process when its host is gone, be it by kill -9.
func watchLifeline(f *os.File, log hclog.Logger) {
	if f == nil {
		return
	}
	go func() {
		if _, err := io.Copy(io.Discard, f); err != nil {
			log.Error("lifeline failed: exit", "err", err)
		} else {
			log.Debug("host is gone, or lets go: exit")
		}
		os.Exit(0)
	}()
}
