package bulk

import (
	"errors"
	"io"
)

// fill is how many bytes ReadFrom gathers before it sends a frame, unless the
// source ends first: small reads must not become small frames.
const fill = 128 << 10

// sourceError marks an error of the reader that is sent, to tell it from one of
// the connection.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// ReadFrom sends all of src, without marking the end.
func (f *Writer) ReadFrom(src io.Reader) (int64, error) {
	b := f.pool.get()
	defer f.pool.put(b)
	var total int64
	for {
		n, err := gather(src, *b)
		if n > 0 {
			if _, err := f.Write((*b)[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, &sourceError{err}
		}
	}
}

// gather reads at least fill bytes, or up to an error. io.ReadAtLeast will not
// do: it cannot tell the end from a source's own io.ErrUnexpectedEOF.
func gather(src io.Reader, b []byte) (int, error) {
	n := 0
	for n < fill {
		m, err := src.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// send writes all of src and marks its end or, when src fails, says why.
func send(w io.Writer, src io.Reader, pool *Pool) error {
	f := NewWriter(w, pool)
	_, err := f.ReadFrom(src)
	if err == nil {
		return f.End()
	}
	if s := (*sourceError)(nil); errors.As(err, &s) {
		return errors.Join(err, f.Abort(s.err))
	}
	return err
}
