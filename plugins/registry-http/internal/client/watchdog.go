package client

import (
	"context"
	"errors"
	"io"
	"time"
)

// errStalled is the cause when the watchdog ended a request.
var errStalled = errors.New("stalled: next to nothing moved within the stall timeout")

// Worthwhile is what a peer has to move, in bytes, to be given another stall
// timeout. One byte at a time would hold a pull, and others behind it, for ever.
const Worthwhile = 64 << 10

// watchdog barks when it is not fed. It watches only while the peer is to
// blame: a caller that reads slowly is no stall.
type watchdog struct {
	t     *time.Timer
	d     time.Duration
	meal  int           // what makes it patient again, in bytes
	eaten int           // of the meal
	left  time.Duration // of its patience
	since time.Time     // when it began to wait
}

func newWatchdog(d time.Duration, meal int, bark func()) *watchdog {
	return &watchdog{t: time.AfterFunc(d, bark), d: d, meal: meal, left: d}
}

// wait begins to watch the peer, ate ends it: n bytes came.
func (w *watchdog) wait() {
	w.since = time.Now()
	w.t.Reset(w.left)
}

func (w *watchdog) ate(n int) {
	w.t.Stop()
	w.left -= time.Since(w.since)
	if w.eaten += n; w.eaten >= w.meal {
		w.eaten, w.left = 0, w.d
	}
}

func (w *watchdog) feed() { w.t.Reset(w.d) }
func (w *watchdog) stop() { w.t.Stop() }

// watchedBody is a response's body under a watchdog. Its errors carry a class.
type watchedBody struct {
	body   io.ReadCloser
	dog    *watchdog
	ctx    context.Context //nolint:containedctx // the context of the request whose body this is
	cancel context.CancelCauseFunc
	client *Client
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.dog.wait()
	n, err := b.body.Read(p)
	b.dog.ate(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.client.transportError(err, context.Cause(b.ctx))
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.dog.stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// watchedUpload is a request's body. Once it is sent, the registry gets more
// time: it may hash gigabytes before it answers.
type watchedUpload struct {
	r   io.Reader
	dog *watchdog
}

const uploadCommitFactor = 10

func (u *watchedUpload) Read(p []byte) (int, error) {
	u.dog.stop()
	n, err := u.r.Read(p)
	if err != nil {
		u.dog.t.Reset(u.dog.d * uploadCommitFactor)
	} else {
		u.dog.feed()
	}
	return n, err
}
