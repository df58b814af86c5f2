// Package keylock is a mutex per key whose waiting ends with a context.
package keylock

import (
	"context"
	"sync"
)

// Locks is a set of mutexes by key. Make it with New.
type Locks struct {
	mu sync.Mutex
	m  map[string]*entry // guarded by mu
}

type entry struct {
	held  chan struct{} // holds a token while locked
	users int
}

// New makes an empty set.
func New() *Locks { return &Locks{m: map[string]*entry{}} }

// Lock waits for the key's mutex, or for the end of ctx. unlock may be called
// more than once.
func (k *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	e := k.use(key)
	select {
	case e.held <- struct{}{}:
		return k.unlocker(key, e), nil
	case <-ctx.Done():
		k.drop(key, e)
		return nil, ctx.Err()
	}
}

// TryLock does not wait.
func (k *Locks) TryLock(key string) (unlock func(), ok bool) {
	e := k.use(key)
	select {
	case e.held <- struct{}{}:
		return k.unlocker(key, e), true
	default:
		k.drop(key, e)
		return nil, false
	}
}

func (k *Locks) unlocker(key string, e *entry) func() {
	return sync.OnceFunc(func() {
		<-e.held
		k.drop(key, e)
	})
}

func (k *Locks) use(key string) *entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.m[key]
	if e == nil {
		e = &entry{held: make(chan struct{}, 1)}
		k.m[key] = e
	}
	e.users++
	return e
}

func (k *Locks) drop(key string, e *entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(k.m, key)
	}
}
