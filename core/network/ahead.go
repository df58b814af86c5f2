package network

import (
	"os"
	"sync"
	"time"
)

// ahead has one network namespace ready for the next container: to make one
// takes the kernel a millisecond, which nobody waits for then. It is held by its
// descriptor alone, so it ends with the daemon, however that ends. The zero
// value holds none yet.
type ahead struct {
	mu     sync.Mutex
	ready  *os.File // guarded by mu; nil: none
	making bool     // guarded by mu: fill is called, or will be
	closed bool     // guarded by mu
}

// refillAfter is longer than a container takes to start: the next namespace is
// not made beside the container that took the last.
const refillAfter = 100 * time.Millisecond

// take returns the namespace, which is the caller's now, or nil when there is
// none; another is made in a while.
func (a *ahead) take() *os.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	ns := a.ready
	a.ready = nil
	if !a.making && !a.closed {
		a.making = true
		time.AfterFunc(refillAfter, a.fill)
	}
	return ns
}

// fill makes a namespace. What fails here fails with its error when a container
// needs one.
func (a *ahead) fill() {
	var ns *os.File
	err := onThread(func() (err error) {
		if err = unshareNetNS(); err == nil {
			ns, err = os.Open(ownNetNS)
		}
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.making = false
	if err != nil {
		return
	}
	if a.closed {
		discard(ns)
		return
	}
	a.ready = ns
}

func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	discard(a.ready)
	a.ready = nil
}

func discard(ns *os.File) {
	if ns != nil {
		ns.Close() //nolint:errcheck // a namespace that nobody is in
	}
}
