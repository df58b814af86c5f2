package hijack

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// linger is how long a client may take to close its side after the process's
// output has ended. Closing at once, with input unread, would reset the
// connection and could cost the client the end of the output.
const linger = 5 * time.Second

// Join copies between a client and a process until the output ends, the client
// is gone or, if detach is not empty, has typed those keys. It closes both. A
// client that ends its input keeps its output. The ways in which connections
// usually end are no errors.
func Join(client *Conn, process Stream, detach []byte) error {
	done := make(chan error, 1)
	go func() { done <- input(client, process, detach) }()
	err := output(client, process)
	// Whoever ended it, the input ends now, after a while at most.
	err = errors.Join(err, ignoreEnd(client.CloseWrite()), ignoreEnd(client.SetReadDeadline(time.Now().Add(linger))), <-done)
	return errors.Join(err, ignoreEnd(client.Close()), ignoreEnd(process.Close()))
}

// Finish ends a connection on which nothing more is to be said.
func (c *Conn) Finish() error {
	err := errors.Join(ignoreEnd(c.CloseWrite()), ignoreEnd(c.SetReadDeadline(time.Now().Add(linger))))
	_, readErr := io.Copy(io.Discard, c)
	return errors.Join(err, ignoreEnd(readErr), ignoreEnd(c.Close()))
}

// input copies what the client types and then stays until the client is gone,
// so that no connection outlives its client when the process writes nothing.
func input(client *Conn, process Stream, detach []byte) error {
	in := io.Reader(client)
	var readErr, writeErr error
	if len(detach) > 0 {
		in = newDetacher(client, detach)
		readErr, writeErr = pump(process, in)
	} else {
		readErr, writeErr = client.forward(process)
	}
	if writeErr != nil {
		// The process takes no more input; its client need not know.
		_, readErr = io.Copy(io.Discard, in)
	}
	if readErr != nil { // detached, or the client is gone
		return errors.Join(ignoreEnd(readErr), ignoreEnd(process.Close()))
	}
	// A process that is yet to come cannot be told yet, but its client may
	// leave before.
	told := make(chan error, 1)
	go func() { told <- process.CloseWrite() }()
	err := ignoreEnd(awaitHangup(client.Conn))
	return errors.Join(err, ignoreEnd(process.Close()), ignoreEnd(<-told))
}

// forward copies what the client sends to a process that takes all of it.
func (c *Conn) forward(process Stream) (readErr, writeErr error) {
	if n := c.early.Buffered(); n > 0 {
		if _, err := io.CopyN(process, c.early, int64(n)); err != nil {
			return nil, err
		}
	}
	return transfer(process, c.Conn)
}

// output copies what the process writes, through the kernel where it can.
func output(client *Conn, process Stream) error {
	src := io.Reader(process)
	if later, ok := process.(Later); ok {
		conn, err := later.Await()
		if err != nil {
			return ignoreEnd(err)
		}
		src = conn
	}
	readErr, writeErr := transfer(client.Conn, src)
	return errors.Join(ignoreEnd(readErr), ignoreEnd(writeErr))
}

// transfer is pump, through the kernel where that can be.
func transfer(dst io.Writer, src io.Reader) (readErr, writeErr error) {
	if handled, readErr, writeErr := splice(dst, src); handled {
		return readErr, writeErr
	}
	return pump(dst, src)
}

// pump copies until one side fails or src ends, and says which side failed.
func pump(dst io.Writer, src io.Reader) (readErr, writeErr error) {
	buf := make([]byte, 32<<10) // larger ones measured no faster on unix sockets
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// ignoreEnd drops the errors that say that a connection has ended.
func ignoreEnd(err error) error {
	for _, end := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOTCONN, errDetached} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}
