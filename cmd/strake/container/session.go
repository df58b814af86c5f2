package container

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/client"
	"github.com/moby/term"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/terminal"
	"github.com/strakehq/strake/core/api/stdcopy"
)

// session carries a process's streams between the terminal and a hijacked
// connection.
type session struct {
	app        *app.App
	conn       client.HijackedResponse
	tty        bool
	stdin      bool // carry standard input
	stdout     bool
	stderr     bool
	detachKeys string
}

// errDetached says that the user typed the detach keys.
var errDetached = errors.New("detached")

// stream copies until the process's output ends, the user detaches or ctx ends.
// The terminal is in raw mode meanwhile, if tty and stdin.
func (s *session) stream(ctx context.Context) (err error) {
	restore := func() error { return nil }
	if s.tty && s.stdin {
		if restore, err = terminal.Raw(s.app.In); err != nil {
			return fmt.Errorf("set the terminal to raw mode: %w", err)
		}
	}
	defer func() { err = errors.Join(err, restore()) }()
	input, err := s.input()
	if err != nil {
		return err
	}
	output := s.output()
	select {
	case err := <-output:
		return err
	case err := <-input:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	// Input has ended, by itself or with the pipe it came from; the output is
	// still to come.
	select {
	case err := <-output:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// input copies standard input, if wanted, and yields one result. Without input
// it never does.
func (s *session) input() (<-chan error, error) {
	done := make(chan error, 1)
	if !s.stdin {
		return done, nil
	}
	in := s.app.In
	if s.tty {
		keys, err := terminal.ParseDetachKeys(s.detachKeys)
		if err != nil {
			return nil, fmt.Errorf("--detach-keys: %w", err)
		}
		in = terminal.Detacher(in, keys)
	}
	go func() {
		_, err := io.Copy(s.conn.Conn, in)
		if errors.As(err, new(term.EscapeError)) {
			done <- errDetached
			return
		}
		// A process that no longer reads is no error of ours.
		s.conn.CloseWrite() //nolint:errcheck // as above
		done <- nil
	}()
	return done, nil
}

func (s *session) output() <-chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		switch {
		case s.tty:
			_, err = io.Copy(s.app.Out, s.conn.Reader)
		default:
			err = stdcopy.Copy(writer(s.app.Out, s.stdout), writer(s.app.Err, s.stderr), s.conn.Reader)
		}
		done <- err
	}()
	return done
}

func writer(w io.Writer, wanted bool) io.Writer {
	if !wanted {
		return io.Discard
	}
	return w
}
