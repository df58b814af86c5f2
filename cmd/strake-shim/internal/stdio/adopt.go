package stdio

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake-shim/internal/jsonlog"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Adopt takes over the streams of a process whose shim died, and begins to
// read. tty is the pty's master, nil when it was lost. What the FIFOs hold,
// and what the dead shim had taken from them but not logged, comes now.
func Adopt(o Options, tty *os.File, stdin bool) (*Streams, error) {
	s := newStreams(o)
	err := s.openLog(func(c jsonlog.Config) (*jsonlog.Writer, error) {
		return jsonlog.Resume(c, !o.IO.Terminal)
	})
	switch {
	case err != nil:
	case o.IO.Terminal && tty != nil:
		s.io.Width, s.io.Height = 0, 0 // it has its size
		err = s.useTTY(tty)
	case !o.IO.Terminal:
		err = s.reopen(o, stdin)
	}
	if err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	s.start()
	return s, nil
}

func (s *Streams) reopen(o Options, stdin bool) error {
	for i, name := range [...]string{wire.Stdout, wire.Stderr} {
		path := filepath.Join(s.dir, name)
		f, err := openFIFO(path, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		if err := s.addFIFO(jsonlog.Stream(i), f, path); err != nil {
			return err
		}
	}
	if !stdin {
		return nil
	}
	f, err := openFIFO(filepath.Join(s.dir, wire.Stdin), unix.O_WRONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ENXIO) { // the process has closed it
		return nil
	}
	if err != nil {
		return err
	}
	s.in = &input{f: f, once: o.IO.StdinOnce, closes: o.StdinClosed}
	s.hub.setInput(s.in)
	return nil
}

// Ended are the streams of a process that has ended.
func Ended() *Streams {
	s := newStreams(Options{})
	s.hub.end()
	return s
}
