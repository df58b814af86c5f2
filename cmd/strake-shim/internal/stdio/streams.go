package stdio

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/strakehq/strake/cmd/strake-shim/internal/jsonlog"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// Streams are the standard streams of one process.
type Streams struct {
	dir      string
	io       wire.IO
	hub      hub
	in       *input
	tty      *os.File
	log      *jsonlog.Writer
	outs     []*output
	child    [3]*os.File
	console  *Console
	started  chan struct{} // closed by Started
	starting sync.Once
}

// Options describe the streams of a process.
type Options struct {
	// Dir is where FIFOs and notes are kept.
	Dir string
	IO  wire.IO
	// Console is where the socket for the pty may be.
	Console string
	// StdinClosed is called when standard input has been ended.
	StdinClosed func()
}

func newStreams(o Options) *Streams {
	s := &Streams{dir: o.Dir, io: o.IO, started: make(chan struct{})}
	s.hub.raw = o.IO.Terminal
	return s
}

// New makes the streams of a process that is to be started.
func New(o Options) (*Streams, error) {
	s := newStreams(o)
	err := s.openLog(jsonlog.Open)
	if err == nil {
		if o.IO.Terminal {
			err = s.makeTTY(o)
		} else {
			err = s.makeFIFOs(o)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	return s, nil
}

func (s *Streams) openLog(open func(jsonlog.Config) (*jsonlog.Writer, error)) (err error) {
	l := s.io.Log
	if l.Path == "" {
		return nil
	}
	s.log, err = open(jsonlog.Config{
		Path: l.Path, MaxSize: l.MaxSize, MaxFiles: l.MaxFiles, Attrs: l.Attrs,
		Journal: filepath.Join(s.dir, "journal"),
	})
	return err
}

func (s *Streams) makeTTY(o Options) (err error) {
	if s.console, err = NewConsole(o.Console); err != nil {
		return err
	}
	for i := range s.child {
		if s.child[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *Streams) makeFIFOs(o Options) (err error) {
	if err := s.makeInput(o); err != nil {
		return err
	}
	for i, name := range [...]string{wire.Stdout, wire.Stderr} {
		var ours *os.File
		path := filepath.Join(s.dir, name)
		if s.child[i+1], ours, err = outFIFO(path, o.IO.UID, o.IO.GID); err != nil {
			return err
		}
		if err := s.addFIFO(jsonlog.Stream(i), ours, path); err != nil {
			return err
		}
	}
	return nil
}

func (s *Streams) makeInput(o Options) (err error) {
	if !o.IO.Stdin {
		s.child[0], err = os.Open(os.DevNull)
		return err
	}
	var ours *os.File
	if s.child[0], ours, err = inFIFO(filepath.Join(s.dir, wire.Stdin), o.IO.UID, o.IO.GID); err != nil {
		return err
	}
	s.in = &input{f: ours, once: o.IO.StdinOnce, closes: o.StdinClosed}
	s.hub.setInput(s.in)
	return nil
}

// addFIFO makes an output of a FIFO: spooled when it is logged.
func (s *Streams) addFIFO(stream jsonlog.Stream, f *os.File, path string) error {
	if s.log == nil {
		s.outs = append(s.outs, newOutput(s, stream, newPlain(f)))
		return nil
	}
	spool, err := newSpool(f, path+".spool", s.log.Taken(stream))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.outs = append(s.outs, newOutput(s, stream, spool))
	return nil
}

// Child returns the files that the process gets as standard streams, and the
// path of the console socket, if it gets a terminal.
func (s *Streams) Child() (files [3]*os.File, console string) {
	if s.console != nil {
		console = s.console.Path
	}
	return s.child, console
}

// Run starts to read, once the runtime has succeeded.
func (s *Streams) Run() error {
	if err := s.closeChild(); err != nil {
		return err
	}
	if s.console != nil {
		tty, err := s.console.Master()
		s.console = nil
		if err != nil {
			return err
		}
		if err := s.useTTY(tty); err != nil {
			return err
		}
	}
	s.start()
	return nil
}

// Started lets a terminal's input through, which was held until now. It may be
// called more than once.
func (s *Streams) Started() { s.starting.Do(func() { close(s.started) }) }

func (s *Streams) useTTY(tty *os.File) error {
	s.tty = tty
	s.in = &input{f: tty, tty: true, open: s.started}
	s.hub.setInput(s.in)
	s.outs = append(s.outs, newOutput(s, jsonlog.Stdout, newPlain(tty)))
	if s.io.Width == 0 && s.io.Height == 0 {
		return nil
	}
	return resize(tty, s.io.Width, s.io.Height)
}

func (s *Streams) start() {
	for _, o := range s.outs {
		go o.run()
	}
}

// Discard undoes New, when no process came of it.
func (s *Streams) Discard() error {
	err := s.closeChild()
	if s.console != nil {
		err = errors.Join(err, s.console.Close())
	}
	for _, o := range s.outs {
		err = errors.Join(err, o.src.close())
	}
	s.Started()
	s.hub.end()
	return errors.Join(err, s.close())
}

func (s *Streams) closeChild() (err error) {
	for i, f := range s.child {
		if f != nil {
			err = errors.Join(err, f.Close())
			s.child[i] = nil
		}
	}
	return err
}

// close ends log and input.
func (s *Streams) close() (err error) {
	if s.in != nil && !s.in.tty {
		err = s.in.close()
	}
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}

// Finish is called when the process has ended. It returns when all output is
// logged and queued for clients. What other processes still write is taken
// for as long as grace.
func (s *Streams) Finish(grace time.Duration) error {
	s.Started() // or clients would wait with what nobody will read
	s.hub.hurry()
	for _, o := range s.outs {
		o.ending.Store(true)
		o.src.finish(grace)
	}
	var err error
	for _, o := range s.outs {
		<-o.done
		err = errors.Join(err, o.src.close())
	}
	s.hub.end()
	return errors.Join(err, s.close())
}

// Clients waits until all clients have left.
func (s *Streams) Clients() { s.hub.wait() }

// Attach makes a socket at path for one client.
func (s *Streams) Attach(path string, want wire.Streams) error { return s.hub.attach(path, want) }

// ErrNoTTY is a resize of streams without a terminal.
var ErrNoTTY = errors.New("the process has no terminal")

// Resize sets the terminal's size in cells.
func (s *Streams) Resize(width, height uint16) error {
	if s.tty == nil {
		return ErrNoTTY
	}
	return resize(s.tty, width, height)
}

// CloseStdin ends standard input.
func (s *Streams) CloseStdin() error {
	if s.in == nil {
		return nil
	}
	return s.in.close()
}

// TTY is the descriptor of the pty's master; 0 without one.
func (s *Streams) TTY() int {
	if s.tty == nil {
		return 0
	}
	fd := 0
	rc, err := s.tty.SyscallConn()
	if err == nil {
		err = rc.Control(func(d uintptr) { fd = int(d) })
	}
	if err != nil {
		return 0
	}
	return fd
}

// StdinOpen tells whether a FIFO for input is open.
func (s *Streams) StdinOpen() bool { return s.in != nil && !s.in.tty && !s.in.closed() }
