package control

import (
	"runtime/debug"
	"sync"
	"time"
)

// So many requests leave enough garbage for a collection, after which the heap
// would stay a megabyte larger than it need be; it is given back when no
// request has come for a while.
const (
	manyRequests = 64
	tidyAfter    = time.Second
)

// tidy gives memory back after many requests. Its zero value is ready for use.
type tidy struct {
	mu       sync.Mutex // guards all below
	requests int
	timer    *time.Timer
}

// after is called after each request.
func (t *tidy) after() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	switch {
	case t.requests < manyRequests:
	case t.timer == nil:
		t.timer = time.AfterFunc(tidyAfter, t.now)
	default:
		t.timer.Reset(tidyAfter)
	}
}

func (t *tidy) now() {
	t.mu.Lock()
	t.requests = 0
	t.mu.Unlock()
	debug.FreeOSMemory()
}
