package container

import (
	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// status is where a container is in its life. The strings are Docker's, whose
// booleans (Running, Paused, …) are derived from it.
type status = container.ContainerState

// statuses lists all of them.
func statuses() []status {
	return []status{
		container.StateCreated, container.StateRunning, container.StatePaused, container.StateRestarting,
		container.StateExited, container.StateRemoving, container.StateDead,
	}
}

// operation is something done to a container, or something that befalls it.
type operation string

const (
	opStart       operation = "start"        // its process runs
	opStartFailed operation = "start failed" // it does not
	opUnstart     operation = "unstart"      // its first start was not finished
	opExit        operation = "exit"         // its process ended, for good
	opExitRestart operation = "restart"      // its process ended and will be started again
	opRetry       operation = "retry"        // a restart failed and will be tried again
	opGiveUp      operation = "give up"      // it will not be started again after all
	opPause       operation = "pause"
	opUnpause     operation = "unpause"
	opRemove      operation = "remove"
	opRemoveFail  operation = "fail to remove"
	// These leave the status alone, but not every status allows them.
	opStop    operation = "stop"
	opKill    operation = "kill"
	opExec    operation = "exec"
	opResize  operation = "resize"
	opTop     operation = "top"
	opUpdate  operation = "update"
	opRename  operation = "rename"
	opAttach  operation = "attach"
	opRestart operation = "restart by hand"
)

// operations lists all of them.
func operations() []operation {
	return []operation{
		opStart, opStartFailed, opUnstart, opExit, opExitRestart, opRetry, opGiveUp, opPause, opUnpause, opRemove, opRemoveFail,
		opStop, opKill, opExec, opResize, opTop, opUpdate, opRename, opAttach, opRestart,
	}
}

// transition is what an operation does in a status: it leads to another one,
// or it is refused.
type transition struct {
	to    status
	class error
	// because is Docker's message, in which %s is the container's id.
	because string
}

func to(s status) transition { return transition{to: s} }

func conflict(because string) transition {
	return transition{class: errdefs.ErrConflict, because: because}
}

func unmodified(because string) transition {
	return transition{class: errdefs.ErrNotModified, because: because}
}

// transitions is the whole life of containers. It has an entry for every
// status and operation.
func transitions() map[operation]map[status]transition {
	const (
		created, running, paused     = container.StateCreated, container.StateRunning, container.StatePaused
		restarting, exited, removing = container.StateRestarting, container.StateExited, container.StateRemoving
		dead                         = container.StateDead
	)
	stopped := func(t transition) map[status]transition {
		return map[status]transition{created: t, exited: t, removing: t, dead: t}
	}
	with := func(base map[status]transition, more map[status]transition) map[status]transition {
		for s, t := range more {
			base[s] = t
		}
		return base
	}
	notRunning := conflict("container %s is not running")
	marked := conflict("container %s is marked for removal and cannot be changed")
	stay := map[status]transition{
		created: to(created), running: to(running), paused: to(paused), restarting: to(restarting),
		exited: to(exited), removing: marked, dead: marked,
	}
	impossible := conflict("container %s: no process of it is being run")
	return map[operation]map[status]transition{
		opStart: {
			created: to(running), exited: to(running), restarting: to(running),
			running:  unmodified("container %s is already running"),
			paused:   conflict("cannot start a paused container, try unpause instead"),
			removing: conflict("container is marked for removal and cannot be started"),
			dead:     conflict("container is marked for removal and cannot be started"),
		},
		opStartFailed: {
			// A container that never ran stays "created", as Docker's.
			created: to(created), exited: to(exited), restarting: to(exited),
			running: impossible, paused: impossible, removing: impossible, dead: impossible,
		},
		opUnstart: with(stopped(impossible), map[status]transition{
			running: to(created), paused: impossible, restarting: impossible,
		}),
		opExit: with(stopped(impossible), map[status]transition{
			running: to(exited), paused: to(exited), restarting: impossible,
		}),
		opExitRestart: with(stopped(impossible), map[status]transition{
			running: to(restarting), paused: to(restarting), restarting: impossible,
		}),
		opRetry: with(stopped(impossible), map[status]transition{
			running: impossible, paused: impossible, restarting: impossible, exited: to(restarting),
		}),
		opGiveUp: with(stopped(impossible), map[status]transition{
			running: impossible, paused: impossible, restarting: to(exited),
		}),
		opPause: with(stopped(notRunning), map[status]transition{
			running: to(paused), paused: conflict("container %s is already paused"),
			restarting: conflict("container %s is restarting, wait until the container is running"),
		}),
		opUnpause: with(stopped(notRunning), map[status]transition{
			running: conflict("container %s is not paused"), paused: to(running),
			restarting: conflict("container %s is not paused"),
		}),
		opRemove: {
			created: to(removing), exited: to(removing), dead: to(removing),
			running:    conflict("container is running: stop the container before removing or force remove"),
			paused:     conflict("container is paused: unpause and then stop the container before removing or force remove"),
			restarting: conflict("container is restarting: stop the container before removing or force remove"),
			removing:   conflict("removal of container %s is already in progress"),
		},
		opRemoveFail: {
			created: impossible, running: impossible, paused: impossible, restarting: impossible, exited: impossible,
			removing: to(dead), dead: impossible,
		},
		opStop: with(stopped(unmodified("container %s is already stopped")), map[status]transition{
			running: to(running), paused: to(paused), restarting: to(restarting),
		}),
		opKill: with(stopped(notRunning), map[status]transition{
			running: to(running), paused: to(paused), restarting: to(restarting),
		}),
		opExec: with(stopped(notRunning), map[status]transition{
			running: to(running), paused: conflict("container %s is paused, unpause the container before exec"),
			restarting: conflict("container %s is restarting, wait until the container is running"),
		}),
		opResize: with(stopped(notRunning), map[status]transition{
			running: to(running), paused: to(paused), restarting: notRunning,
		}),
		opTop: with(stopped(notRunning), map[status]transition{
			running: to(running), paused: to(paused),
			restarting: conflict("container %s is restarting, wait until the container is running"),
		}),
		opUpdate: stay,
		opRename: stay,
		opAttach: {
			created: to(created), running: to(running), exited: to(exited), restarting: to(restarting),
			paused:   conflict("container %s is paused, unpause the container before attach"),
			removing: marked, dead: marked,
		},
		opRestart: {
			created: to(created), running: to(running), exited: to(exited), restarting: to(restarting), paused: to(paused),
			removing: marked, dead: marked,
		},
	}
}

// next looks up what an operation does in a status.
func (m *Manager) next(id string, s status, o operation) (status, error) {
	t := m.table[o][s]
	if t.class == nil {
		return t.to, nil
	}
	msg := t.because
	if containsVerb(msg) {
		return s, refuse(t.class, msg, id)
	}
	return s, &fault{t.class, msg}
}

func containsVerb(format string) bool {
	for i := 0; i+1 < len(format); i++ {
		if format[i] == '%' {
			return true
		}
	}
	return false
}

func alive(s status) bool { return s == container.StateRunning || s == container.StatePaused }

// active includes the time between an exit and the restart that follows: for
// Docker's clients the container runs all along.
func active(s status) bool { return alive(s) || s == container.StateRestarting }
