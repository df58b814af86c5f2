package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/filter"
	"github.com/strakehq/strake/core/store"
	"github.com/strakehq/strake/sdk/mishap"
)

// Remove implements containers.Lifecycle.
func (m *Manager) Remove(ctx context.Context, ref string, o containers.RemoveOptions) error {
	u, err := m.find(ref)
	if err != nil {
		return err
	}
	gone, err := m.still(ctx, u, o.Force)
	if gone || err != nil { // by itself, after the kill
		return err
	}
	defer u.release()
	if _, err := m.allows(u, opRemove); err != nil {
		return classedf(err, "cannot remove container %q: %v", u.get().Name, err)
	}
	return m.remove(ctx, u, o.Volumes)
}

// still takes the lock of a container that is to be removed; with force, of one
// that runs no more. A restart policy may start it between the look and the
// lock: then it is killed once more, after which no policy holds.
func (m *Manager) still(ctx context.Context, u *unit, force bool) (gone bool, err error) {
	for {
		if force && active(u.get().Run.Status) {
			if err := m.killForRemoval(ctx, u); err != nil {
				return false, err
			}
		}
		if err := u.acquire(ctx); err != nil {
			return false, err
		}
		u.mu.Lock()
		gone, runs := u.removed, active(u.rec.Run.Status)
		u.mu.Unlock()
		if !gone && (!force || !runs) {
			return false, nil
		}
		u.release()
		if gone {
			return true, nil
		}
	}
}

func (m *Manager) killForRemoval(ctx context.Context, u *unit) error {
	ended, err := m.signalStop(ctx, u, syscall.SIGKILL)
	if ended == nil || err != nil {
		return err
	}
	t := time.NewTimer(killGrace)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("could not kill container %s: its process did not end within %s of SIGKILL", short(u.id), killGrace)
	}
}

// remove removes a container that does not run. It is called with the lock
// held. Should the daemon die on the way, what is left belongs to nobody and
// is collected by the next one.
func (m *Manager) remove(ctx context.Context, u *unit, volumes bool) error {
	r, err := m.move(u, opRemove, nil)
	if err != nil {
		return err
	}
	u.mu.Lock()
	if u.cancelRestart != nil {
		u.cancelRestart()
	}
	u.mu.Unlock()
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := m.clear(ctx, u, r, volumes); err != nil {
		err = fmt.Errorf("container %s: remove: %w", short(r.ID), err)
		dead, moveErr := m.move(u, opRemoveFail, func(x *run) { x.Error = err.Error() })
		u.mu.Lock()
		u.erased = false
		u.mu.Unlock()
		return errors.Join(err, moveErr, m.save(dead))
	}
	m.drop(u, r)
	m.publish(r, events.ActionDestroy)
	return nil
}

// clear removes all that a container owns: its record first, so that there is
// never one without a root, and the rest side by side.
func (m *Manager) clear(ctx context.Context, u *unit, r record, volumes bool) error {
	if err := m.clearStale(ctx, u, r); err != nil {
		return err
	}
	if err := m.erase(u); err != nil {
		return err
	}
	m.disown(r.ID)
	snapshot := make(chan error, 1)
	go func() { snapshot <- m.cfg.Drivers.Storage().Remove(ctx, r.snapshotKey()) }()
	err := errors.Join(m.cfg.Volumes.Release(ctx, r.ID, volumes), os.RemoveAll(m.dir(r.ID)))
	mishap.Hit(mishap.ContainerErased)
	return errors.Join(err, <-snapshot)
}

// erase removes a container's record, once. From then on whatever is left of it
// belongs to nobody.
func (m *Manager) erase(u *unit) error {
	u.mu.Lock()
	done := u.erased
	u.mu.Unlock()
	if done {
		return nil
	}
	if err := m.cfg.Store.Update(func(tx *store.Tx) error { return m.records.Delete(tx, u.id) }); err != nil {
		return err
	}
	u.mu.Lock()
	u.erased = true
	u.mu.Unlock()
	return nil
}

// drop forgets a container and tells those who wait for it.
func (m *Manager) drop(u *unit, r record) {
	m.mu.Lock()
	delete(m.units, r.ID)
	if m.names[r.Name] == r.ID {
		delete(m.names, r.Name)
	}
	for id, owner := range m.execs {
		if owner == u {
			delete(m.execs, id)
		}
	}
	m.mu.Unlock()
	u.mu.Lock()
	u.removed = true
	u.notify(true)
	u.mu.Unlock()
	u.dropPending()
}

// Prune implements containers.Lifecycle.
func (m *Manager) Prune(ctx context.Context, f filter.Args) (container.PruneReport, error) {
	report := container.PruneReport{ContainersDeleted: []string{}}
	until, err := untilOf(f)
	if err != nil {
		return report, err
	}
	for _, u := range m.all() {
		r := u.get()
		if active(r.Run.Status) || r.Run.Status == container.StateRemoving || !until.IsZero() && r.Created.After(until) ||
			!f.Labels(r.Config.Labels) || slices.ContainsFunc(f.Get("label!"), func(l string) bool { return filter.Args{"label": {l}}.Labels(r.Config.Labels) }) {
			continue
		}
		size, err := m.cfg.Drivers.Storage().Usage(ctx, r.snapshotKey())
		if err != nil {
			m.log.Warn("measure", "container", short(r.ID), "err", err)
		}
		if err := m.Remove(ctx, r.ID, containers.RemoveOptions{}); err != nil {
			m.log.Warn("prune", "container", short(r.ID), "err", err)
			continue
		}
		report.ContainersDeleted = append(report.ContainersDeleted, r.ID)
		report.SpaceReclaimed += uint64(max(0, size.Bytes))
	}
	m.cfg.Events.Publish(events.ContainerEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}

// untilOf reads the filter until: a time, a Unix time or an age.
func untilOf(f filter.Args) (time.Time, error) {
	v := f.Get("until")
	if len(v) == 0 {
		return time.Time{}, nil
	}
	if len(v) > 1 {
		return time.Time{}, invalid("more than one until filter specified")
	}
	if d, err := time.ParseDuration(v[0]); err == nil {
		return time.Now().Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v[0]); err == nil {
		return t, nil
	}
	whole, _, _ := strings.Cut(v[0], ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, invalid("invalid until filter %q: want a time, a Unix time or an age such as 24h", v[0])
	}
	return time.Unix(s, 0), nil
}
