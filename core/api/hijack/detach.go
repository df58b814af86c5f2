package hijack

import (
	"errors"
	"io"
)

// errDetached is how input ends when the client typed the detach keys.
var errDetached = errors.New("detached")

// detacher passes input on until it has seen the detach keys, which it holds
// back, as it does a beginning of them until it knows better.
type detacher struct {
	in   io.Reader
	keys []byte
	held int    // how many of keys were seen last
	out  []byte // checked, not yet handed out
	err  error  // after out
}

func newDetacher(in io.Reader, keys []byte) *detacher { return &detacher{in: in, keys: keys} }

// Read implements io.Reader; errDetached follows what came before the keys.
func (d *detacher) Read(p []byte) (int, error) {
	buf := make([]byte, len(p))
	for len(d.out) == 0 && d.err == nil {
		n, err := d.in.Read(buf)
		d.err = err
		d.scan(buf[:n])
		if err != nil && d.held < len(d.keys) {
			d.release(d.held)
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	if len(d.out) > 0 {
		return n, nil
	}
	return n, d.err
}

func (d *detacher) scan(in []byte) {
	for _, b := range in {
		// Keys typed so far may also begin a later match: ctrl-p ctrl-p
		// ctrl-q ends with ctrl-p ctrl-q.
		for d.held > 0 && d.keys[d.held] != b {
			d.release(d.held - d.border(d.held))
		}
		if d.keys[d.held] != b {
			d.out = append(d.out, b)
			continue
		}
		d.held++
		if d.held == len(d.keys) {
			d.err = errDetached
			return
		}
	}
}

// release passes the first n held keys on.
func (d *detacher) release(n int) {
	d.out = append(d.out, d.keys[:n]...)
	d.held -= n
}

// border is the length of the longest proper prefix of keys[:n] that is also
// its suffix.
func (d *detacher) border(n int) int {
	for l := n - 1; l > 0; l-- {
		if string(d.keys[:l]) == string(d.keys[n-l:n]) {
			return l
		}
	}
	return 0
}
