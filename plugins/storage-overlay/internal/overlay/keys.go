package overlay

import (
	"context"
	"slices"
	"sync"

	"github.com/strakehq/strake/sdk/storage"
)

// keyLocks serializes calls about one key.
type keyLocks struct {
	mu   sync.Mutex
	held map[storage.SnapshotKey]*keyLock // guarded by mu
}

type keyLock struct {
	token chan struct{}
	users int
}

func newKeyLocks() *keyLocks { return &keyLocks{held: map[storage.SnapshotKey]*keyLock{}} }

// lock waits for all keys, in an order of its own, and returns their unlock.
func (k *keyLocks) lock(ctx context.Context, keys ...storage.SnapshotKey) (unlock func(), err error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	for i, key := range keys {
		if err := k.one(ctx, key); err != nil {
			k.unlock(keys[:i])
			return nil, err
		}
	}
	return func() { k.unlock(keys) }, nil
}

func (k *keyLocks) one(ctx context.Context, key storage.SnapshotKey) error {
	k.mu.Lock()
	l, ok := k.held[key]
	if !ok {
		l = &keyLock{token: make(chan struct{}, 1)}
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.leave(key, l)
		return context.Cause(ctx)
	}
}

func (k *keyLocks) unlock(keys []storage.SnapshotKey) {
	for _, key := range keys {
		k.mu.Lock()
		l := k.held[key]
		k.mu.Unlock()
		<-l.token
		k.leave(key, l)
	}
}

func (k *keyLocks) leave(key storage.SnapshotKey, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.users--
	if l.users == 0 {
		delete(k.held, key)
	}
}
