package client

import (
	"context"
	"errors"
	"io"
	"time"
)

// errStalled is the cause when the watchdog ended a request.
var errStalled = errors.New("stalled: no byte moved within the stall timeout")

// watchdog barks when it is not fed. It watches only while the peer is to
// blame: a caller that reads slowly is no stall.
type watchdog struct {
	t *time.Timer
	d time.Duration
}

func newWatchdog(d time.Duration, bark func()) *watchdog {
	return &watchdog{t: time.AfterFunc(d, bark), d: d}
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
	b.dog.feed()
	n, err := b.body.Read(p)
	b.dog.stop()
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
