package container_test

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/container"
)

// What clients may see of one container, as a machine of small steps. Every verb is
// a short program of steps, each of which happens at one moment between call and
// answer. What a status allows, and where it leads, is the table's word alone.

// verb is what a client does, and what came of it. times are those of a clock that
// all clients share.
type verb struct {
	name         string
	arg          string
	call, answer int64
	got          string
}

func (v verb) String() string {
	return fmt.Sprintf("[%3d %3d] %-8s %-2s → %s", v.call, v.answer, v.name, v.arg, v.got)
}

// model is the container at one moment.
type model struct {
	status apicontainer.ContainerState
	gone   bool // it is not found any more
	dying  bool // its process has ended, and that is not accounted for
	runs   int8 // ends that are accounted for
	name   string
	held   string // other names that are taken, each with a blank behind it
	shares string
}

// place is how far a verb's program is. Its zero value: not begun.
type place struct {
	step int8
	run  int8   // the end that a stop waits for
	old  string // the name that a rename gives back
}

// outcome is what a step may lead to; without a result the program goes on.
type outcome struct {
	model  model
	place  place
	result string
}

// classOf is what a client sees of an error.
func classOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errdefs.IsNotModified(err):
		return "not modified"
	case errdefs.IsConflict(err):
		return "conflict"
	case errdefs.IsNotFound(err):
		return "not found"
	case errdefs.IsInvalidArgument(err):
		return "invalid"
	}
	return "error: " + err.Error()
}

func alive(m model) bool {
	return m.status == apicontainer.StateRunning || m.status == apicontainer.StatePaused
}

// ask is the table's answer: the status that follows, and what a client is told.
func (m model) ask(op string) (model, string) {
	s, err := container.Next(m.status, op)
	m.status = s
	return m, classOf(err)
}

// settle is the daemon's own step: the end of the process is accounted for.
func (m model) settle() (model, bool) {
	if !m.dying {
		return m, false
	}
	m, class := m.ask("exit")
	m.dying, m.runs = false, m.runs+1
	return m, class == "ok"
}

// signal sends one that ends the process, which a frozen one gets when it thaws.
func (m model) signal() model {
	if m.status == apicontainer.StatePaused {
		m, _ = m.ask("unpause")
	}
	m.dying = true
	return m
}

// step does the next step of a verb; nothing is possible yet, if it has to wait.
func step(m model, p place, v verb) []outcome {
	over := func(m model, result string) []outcome { return []outcome{{m, p, result}} }
	next := func(m model) []outcome { p.step++; return []outcome{{m, p, ""}} }
	// Those that work under the container's lock do all at one moment.
	locked := func(op string) (model, string) {
		if m.gone {
			return m, "not found"
		}
		return m.ask(op)
	}
	switch v.name {
	case "start":
		return over(locked("start"))
	case "pause", "unpause":
		after, class := locked(v.name)
		if class == "ok" && m.dying { // the process may have ended under the driver's hands
			return append(over(after, class), over(m, "conflict")...)
		}
		return over(after, class)
	case "update":
		after, class := locked("update")
		if class == "ok" {
			after.shares = v.arg
		}
		return over(after, class)
	case "kill":
		after, class := locked("kill")
		if class == "ok" {
			after = after.signal()
		}
		return over(after, class)
	case "stop":
		return stop(m, p, v, over, next)
	case "restart":
		return restart(m, p, v, over, next)
	case "rm", "rm -f":
		return remove(m, p, v, over, next)
	case "rename":
		return rename(m, p, v, over, next)
	case "create":
		if strings.Contains(m.held, v.arg+" ") || !m.gone && m.name == v.arg {
			return over(m, "conflict")
		}
		m.held += v.arg + " "
		return over(m, "ok")
	case "exec":
		if p.step == 0 {
			return look(m, over, next)
		}
		_, class := m.ask("exec")
		return over(m, class)
	case "inspect":
		if p.step == 0 {
			return look(m, over, next)
		}
		return over(m, fmt.Sprint(m.status, " ", m.name, " ", m.shares))
	}
	panic(v.name)
}

type ends func(model, string) []outcome

// look finds the container, without its lock.
func look(m model, over ends, next func(model) []outcome) []outcome {
	if m.gone {
		return over(m, "not found")
	}
	return next(m)
}

// stop looks, sends its signal under the lock, and waits for the end.
func stop(m model, p place, _ verb, over ends, next func(model) []outcome) []outcome {
	switch p.step {
	case 0:
		return look(m, over, next)
	case 1:
		if _, class := m.ask("stop"); class != "ok" {
			return over(m, class)
		}
		return next(m)
	case 2:
		if !alive(m) {
			return over(m, "ok")
		}
		out := next(m.signal())
		out[0].place.run = m.runs
		return out
	}
	if m.runs == p.run {
		return nil
	}
	return over(m, "ok")
}

// restart is a stop of what runs, and a start.
func restart(m model, p place, v verb, over ends, next func(model) []outcome) []outcome {
	switch p.step {
	case 0:
		return look(m, over, next)
	case 1:
		_, class := m.ask("restart by hand")
		switch {
		case class != "ok":
			return over(m, class)
		case alive(m):
			return next(m)
		}
		p.step = 4
		return []outcome{{m, p, ""}}
	case 2:
		if !alive(m) {
			p.step = 4
			return []outcome{{m, p, ""}}
		}
		out := next(m.signal())
		out[0].place.run = m.runs
		return out
	case 3:
		if m.runs == p.run {
			return nil
		}
		return next(m)
	}
	out := step(m, p, verb{name: "start"})
	if out[0].result == "not modified" {
		out[0].result = "ok"
	}
	return out
}

// remove kills with force as often as need be, and removes under the lock.
func remove(m model, p place, v verb, over ends, next func(model) []outcome) []outcome {
	force := v.name == "rm -f"
	switch p.step {
	case 0:
		return look(m, over, next)
	case 1: // is it to be killed?
		if force && alive(m) {
			return next(m)
		}
		p.step = 4
		return []outcome{{m, p, ""}}
	case 2:
		if !alive(m) {
			p.step = 4
			return []outcome{{m, p, ""}}
		}
		out := next(m.signal())
		out[0].place.run = m.runs
		return out
	case 3:
		if m.runs == p.run {
			return nil
		}
		return next(m)
	case 4:
		if m.gone {
			return over(m, "ok")
		}
		if force && alive(m) { // somebody has started it meanwhile
			p.step = 1
			return []outcome{{m, p, ""}}
		}
		if m.status == apicontainer.StateRemoving { // the lock is held
			return nil
		}
		after, class := m.ask("remove")
		if class != "ok" {
			return over(after, class)
		}
		return next(after)
	}
	m.gone = true
	return over(m, "ok")
}

// rename takes the new name, has it, and gives the old one back.
func rename(m model, p place, v verb, over ends, next func(model) []outcome) []outcome {
	switch p.step {
	case 1:
		m.name, m.held = v.arg, strings.Replace(m.held, v.arg+" ", "", 1)+p.old+" "
		return next(m)
	case 2:
		m.held = strings.Replace(m.held, p.old+" ", "", 1)
		return over(m, "ok")
	}
	if m.gone {
		return over(m, "not found")
	}
	after, class := m.ask("rename")
	switch {
	case class != "ok":
		return over(after, class)
	case m.name == v.arg:
		return over(m, "invalid")
	case strings.Contains(m.held, v.arg+" "):
		return over(m, "conflict")
	}
	m.held += v.arg + " "
	out := next(m)
	out[0].place.old = m.name
	return out
}
