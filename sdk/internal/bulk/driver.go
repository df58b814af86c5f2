package bulk

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
)

// Receive connects to socket and hands use a reader of what the host sends. The
// reader fails when ctx ends.
func Receive(ctx context.Context, socket string, pool *Pool, use func(io.Reader) error) error {
	return connected(ctx, socket, func(c net.Conn) error { return use(NewReader(c, pool)) })
}

// Provide connects to socket and hands write a writer to the host. The stream
// ends cleanly only when write returns nil. The writer fails when ctx ends or
// the host has had enough.
func Provide(ctx context.Context, socket string, pool *Pool, write func(io.Writer) error) error {
	return connected(ctx, socket, func(c net.Conn) error {
		f := NewWriter(c, pool)
		// Gathers small writes such as tar headers; large ones pass by.
		b := bufio.NewWriterSize(f, fill)
		if err := write(b); err != nil {
			return err
		}
		if err := b.Flush(); err != nil {
			return err
		}
		return f.End()
	})
}

func connected(ctx context.Context, socket string, do func(net.Conn) error) error {
	c, err := Dial(ctx, socket)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() }) // interrupts do
	defer unhook()
	err = do(c)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return errors.Join(err, c.Close())
}

// Drain reads r to its clean end. Receivers that must have seen everything call
// it, since readers of tar and the like stop before trailing padding.
func Drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
