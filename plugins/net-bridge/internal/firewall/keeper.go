package firewall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/mishap"
	"github.com/strakehq/strake/sdk/network"
)

// Keeper knows all rules that should be and has a backend put them into the
// kernel. It is safe for concurrent use.
type Keeper struct {
	log hclog.Logger

	mu       sync.Mutex
	backend  Backend                          // guarded by mu
	networks map[network.NetworkID]Network    // guarded by mu
	forwards map[network.EndpointID][]Forward // guarded by mu
	dirty    bool                             // guarded by mu: the kernel may not have all of it
	clock    Clock                            // guarded by mu: nil when nobody tells of changes
	seen     uint32                           // guarded by mu: when the rules were last known whole; 0: never
}

// Clock tells of changes to the kernel's rules.
type Clock interface {
	// Generation is one more after every transaction, whosever.
	Generation() (uint32, error)
}

// NewKeeper keeps rules with the backend. With a clock, rules are looked at only
// when it has moved.
func NewKeeper(log hclog.Logger, b Backend, c Clock) *Keeper {
	return &Keeper{
		log: log, backend: b, dirty: true, clock: c,
		networks: map[network.NetworkID]Network{}, forwards: map[network.EndpointID][]Forward{},
	}
}

// Load sets all rules without touching the kernel; Sync follows.
func (k *Keeper) Load(ns map[network.NetworkID]Network, fs map[network.EndpointID][]Forward) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.networks, k.forwards, k.dirty = maps.Clone(ns), maps.Clone(fs), true
}

// Sync writes all rules if the kernel may not have them.
func (k *Keeper) Sync(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sync(ctx)
}

func (k *Keeper) sync(ctx context.Context) error {
	if !k.dirty {
		return nil
	}
	put := k.backend.Remove // without networks there is nothing to leave behind
	if !k.empty() {
		put = func(ctx context.Context) error { return k.backend.Replace(ctx, k.rules()) }
	}
	mishap.Hit(mishap.BridgeRules)
	if err := put(ctx); err != nil {
		return err
	}
	mishap.Hit(mishap.BridgeRuled)
	k.dirty = false
	return nil
}

func (k *Keeper) empty() bool { return len(k.networks) == 0 && len(k.forwards) == 0 }

// SetNetwork adds or changes a network.
func (k *Keeper) SetNetwork(ctx context.Context, id network.NetworkID, n Network) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if have, ok := k.networks[id]; !ok || have != n {
		k.networks[id], k.dirty = n, true
	}
	return k.sync(ctx)
}

// DropNetwork removes a network.
func (k *Keeper) DropNetwork(ctx context.Context, id network.NetworkID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.networks[id]; ok {
		delete(k.networks, id)
		k.dirty = true
	}
	return k.sync(ctx)
}

// SetForwards sets the forwards of an endpoint; none removes them.
func (k *Keeper) SetForwards(ctx context.Context, id network.EndpointID, fs []Forward) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.forwards[id]
	if slices.Equal(old, fs) {
		return k.sync(ctx)
	}
	if len(fs) == 0 {
		delete(k.forwards, id)
	} else {
		k.forwards[id] = slices.Clone(fs)
	}
	if !k.dirty {
		mishap.Hit(mishap.BridgeRules)
		err := k.backend.Change(ctx, fs, old)
		mishap.Hit(mishap.BridgeRuled)
		if err == nil {
			k.tick()
			return nil
		}
		k.log.Debug("rules have to be written anew", "endpoint", id, "err", err)
	}
	k.dirty = true
	return k.sync(ctx)
}

// tick accounts for a transaction of the keeper's own. When there was no other
// since the rules were found whole they still are: with hundreds of ports, to
// list them after each that is published takes longer than to publish it.
func (k *Keeper) tick() {
	if k.clock == nil || k.seen == 0 {
		return
	}
	now, err := k.clock.Generation()
	if err != nil {
		k.log.Debug("rules have to be looked at", "err", err)
	} else if now == k.seen+1 {
		k.seen = now
	}
}

// rules are all rules in a stable order.
func (k *Keeper) rules() Rules {
	var r Rules
	for _, id := range slices.Sorted(maps.Keys(k.networks)) {
		r.Networks = append(r.Networks, k.networks[id])
	}
	for _, id := range slices.Sorted(maps.Keys(k.forwards)) {
		r.Forwards = append(r.Forwards, k.forwards[id]...)
	}
	return r
}

// Repair writes all rules when some are missing, and says whether it did.
func (k *Keeper) Repair(ctx context.Context) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dirty {
		return true, k.sync(ctx)
	}
	now, moved, err := k.moved()
	if err != nil || !moved {
		return false, err
	}
	ok := k.empty()
	if !ok {
		if ok, err = k.backend.Intact(ctx, k.rules()); err != nil {
			return false, err
		}
	}
	if ok {
		k.seen = now
		return false, nil
	}
	k.dirty = true
	return true, k.sync(ctx)
}

// Moved says whether any rules of the namespace may have changed since the
// driver's own were last found whole.
func (k *Keeper) Moved() (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, moved, err := k.moved()
	return moved || k.dirty, err
}

func (k *Keeper) moved() (now uint32, moved bool, err error) {
	if k.clock == nil {
		return 0, true, nil
	}
	now, err = k.clock.Generation()
	return now, now != k.seen, err
}

// Check says whether the forwards of an endpoint should be in place, as far as
// the keeper knows: ErrFailedPrecondition when rules are missing.
func (k *Keeper) Check(ctx context.Context, fs []Forward) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ok, err := k.backend.Intact(ctx, k.rules())
	if err != nil {
		return err
	}
	if k.dirty || !ok {
		return fmt.Errorf("firewall rules for %d published ports (%s): missing: %w", len(fs), k.backend.Name(), errdefs.ErrFailedPrecondition)
	}
	return nil
}

// Backend is the name of the backend at work.
func (k *Keeper) Backend() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.backend.Name()
}

// Switch goes over to another backend: the new one's rules are in place before
// those of the old one are removed.
func (k *Keeper) Switch(ctx context.Context, to Backend, c Clock) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := to.Replace(ctx, k.rules()); err != nil {
		return errors.Join(fmt.Errorf("firewall: switch from %s: %w", k.backend.Name(), err), to.Close())
	}
	old := k.backend
	k.backend, k.clock, k.dirty, k.seen = to, c, false, 0
	return errors.Join(old.Remove(ctx), old.Close())
}

// Close closes the backend and leaves the rules.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.backend.Close()
}

// String lists the networks, for logs.
func (n Network) String() string { return strings.Join([]string{n.Bridge, n.Subnet.String()}, " ") }
