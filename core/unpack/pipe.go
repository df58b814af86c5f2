package unpack

import (
	"io"
	"sync"
)

// pipe carries chunks from one goroutine to another, a few of them ahead, so
// that the stages of a pipeline run side by side.
type pipe struct {
	full   chan []byte
	free   chan []byte
	gone   chan struct{} // closed when the reader has gone
	once   sync.Once
	err    error // set before full is closed
	rest   []byte
	chunk  []byte
	closed bool // by the writer
}

const (
	chunkSize = 256 << 10
	chunks    = 4
)

func newPipe() *pipe {
	return &pipe{full: make(chan []byte, chunks), free: make(chan []byte, chunks+2), gone: make(chan struct{})}
}

// buffer returns a chunk to fill and send.
func (p *pipe) buffer() []byte {
	select {
	case b := <-p.free:
		return b[:chunkSize]
	default:
		return make([]byte, chunkSize)
	}
}

// send hands a chunk over. False: the reader has gone.
func (p *pipe) send(b []byte) bool {
	select {
	case p.full <- b:
		return true
	case <-p.gone:
		return false
	}
}

// closeWrite ends the stream; err is what the reader gets, nil for io.EOF.
func (p *pipe) closeWrite(err error) {
	if p.closed {
		return
	}
	p.closed = true
	p.err = err
	close(p.full)
}

// closeRead lets the writer go on without a reader.
func (p *pipe) closeRead() { p.once.Do(func() { close(p.gone) }) }

// Read implements io.Reader for one goroutine.
func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.chunk != nil {
			select {
			case p.free <- p.chunk:
			default:
			}
			p.chunk = nil
		}
		c, ok := <-p.full
		if !ok {
			if p.err != nil {
				return 0, p.err
			}
			return 0, io.EOF
		}
		p.chunk, p.rest = c, c
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
