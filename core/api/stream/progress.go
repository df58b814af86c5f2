package stream

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/strakehq/strake/core/api/httperr"
)

// Progress writes the messages of a long operation. It never makes the
// operation wait for a slow client: a newer reading of one bar replaces the
// older one that was not sent yet. It is safe for concurrent use.
type Progress struct {
	w    http.ResponseWriter
	news chan struct{} // has an element when queue is not empty
	done chan struct{} // closed after the last message

	mu      sync.Mutex
	begun   bool
	closed  bool
	queue   []message
	waiting map[string]int // index in queue by bar
}

// message has the field that clients before API 1.53 look at besides
// errorDetail.
type message struct {
	jsonstream.Message
	Text string `json:"error,omitempty"`
}

// NewProgress makes a stream of messages on a response. Nothing is written
// before the first message. End it with Finish.
func NewProgress(w http.ResponseWriter) *Progress {
	return &Progress{w: w, news: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[string]int{}}
}

// Send queues a message. After Finish it does nothing.
func (p *Progress) Send(m jsonstream.Message) { p.send(message{Message: m}) }

func (p *Progress) send(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.enqueue(m)
	if !p.begun {
		p.begun = true
		go p.run()
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// enqueue is called with mu held.
func (p *Progress) enqueue(m message) {
	bar := m.ID + "\x00" + m.Status
	if m.Progress == nil || m.ID == "" {
		clear(p.waiting) // what comes later must not be shown before this
		p.queue = append(p.queue, m)
		return
	}
	if i, ok := p.waiting[bar]; ok {
		p.queue[i] = m
		return
	}
	p.waiting[bar] = len(p.queue)
	p.queue = append(p.queue, m)
}

// Finish ends the stream after all messages were sent. An error of the
// operation is returned, to become the response's status, when nothing was
// sent yet; else it is the stream's last message.
func (p *Progress) Finish(err error) error {
	p.mu.Lock()
	begun := p.begun
	p.mu.Unlock()
	switch {
	case !begun && err != nil:
		return err
	case !begun: // an empty stream
		p.w.Header().Set("Content-Type", "application/json")
		return nil
	case err != nil:
		text := httperr.Message(err)
		p.send(message{
			Message: jsonstream.Message{Error: &jsonstream.Error{Message: text}},
			Text:    text,
		})
	}
	p.mu.Lock()
	p.closed = true
	close(p.news)
	p.mu.Unlock()
	<-p.done
	return nil
}

// run sends until Finish. Its errors say that the client is gone, which ends
// the request's context and with it the operation; messages go nowhere until
// that has come about.
func (p *Progress) run() {
	defer close(p.done)
	p.w.Header().Set("Content-Type", "application/json")
	w := NewWriter(p.w)
	defer w.Close()
	var err error
	for open := true; open; {
		_, open = <-p.news
		if queue := p.take(); err == nil {
			err = write(w, queue)
		}
	}
}

func write(w *Writer, queue []message) error {
	for _, m := range queue {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\r', '\n')); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (p *Progress) take() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queue
	p.queue, p.waiting = nil, map[string]int{}
	return q
}
