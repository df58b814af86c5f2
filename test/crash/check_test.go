package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// snapshot is what can be seen of a host with only the residents on it, as text
// that must come back after every fault.
type snapshot struct {
	rules, networks, volumes, images, records []string
}

// container is what the API says of one.
type container struct {
	ID           string `json:"Id"`
	Name         string
	RestartCount int
	State        struct {
		Status   string
		Pid      int
		ExitCode int
		Error    string
	}
	HostConfig      struct{ NetworkMode string }
	NetworkSettings struct{ Networks map[string]endpoint }
}

func (c container) alive() bool { return c.State.Status == "running" || c.State.Status == "paused" }

// await looks until nothing is wrong any more, and returns what it saw last.
func (w *world) await(patience time.Duration, what string, fates []*fate) snapshot {
	w.t.Helper()
	var wrong []string
	var s snapshot
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if s, wrong = w.look(fates); len(wrong) == 0 {
			return s
		}
		if time.Now().After(end) {
			break
		}
	}
	w.t.Errorf("not within %s: %s:\n  %s", patience, what, strings.Join(wrong, "\n  "))
	return s
}

// look compares records, kernel and what clients were told.
func (w *world) look(fates []*fate) (s snapshot, wrong []string) {
	all, err := w.containers()
	if err != nil {
		return s, []string{err.Error()}
	}
	if n := len(w.drivers()); n != 4 {
		wrong = append(wrong, fmt.Sprintf("%d drivers are ready", n))
	}
	for _, f := range fates {
		if err := w.checkFate(f, all); err != "" {
			wrong = append(wrong, err+"\n      "+strings.Join(f.history, "\n      "))
		}
	}
	wrong = append(wrong, w.checkResidents(all)...)
	if len(wrong) > 0 { // the rest costs more to look at
		return s, wrong
	}
	wrong = append(wrong, w.checkKernel(all)...)
	disk, more := w.checkDisk(all)
	wrong = append(wrong, more...)
	if len(wrong) == 0 {
		wrong = w.checkLogs()
	}
	s = disk
	s.rules = w.rules()
	s.networks, s.volumes, s.images = w.names("/networks"), w.volumes(), w.tags()
	// It may have changed while it was looked at.
	again, err := w.containers()
	if err == nil && !maps.EqualFunc(all, again, func(a, b container) bool { return a.State == b.State }) {
		wrong = append(wrong, "containers change")
	}
	return s, wrong
}

// containers are all of them, by id.
func (w *world) containers() (map[string]container, error) {
	ids, err := w.list()
	if err != nil {
		return nil, err
	}
	all := map[string]container{}
	for n, id := range ids {
		var c container
		if err := w.api.get("/containers/" + id + "/json").into(&c); err != nil {
			return nil, err
		}
		if c.ID != id || c.Name != "/"+n {
			return nil, fmt.Errorf("container %s is listed as %s %s", c.ID, id, n)
		}
		all[id] = c
	}
	return all, nil
}

// checkFate says what is wrong with an object.
func (w *world) checkFate(f *fate, all map[string]container) string {
	status, c := "absent", container{}
	switch f.kind {
	case "image":
		status = w.exists("/images/" + f.name + "/json")
	case "volume":
		status = w.exists("/volumes/" + f.name)
	case "network":
		status = w.exists("/networks/" + f.name)
	default:
		for _, have := range all {
			if have.Name == "/"+f.name {
				status, c = have.State.Status, have
			}
		}
	}
	if !slices.Contains(f.may, status) {
		return fmt.Sprintf("%s %s: is %s, and may be %s", f.kind, f.name, status, strings.Join(f.may, " or "))
	}
	if wrong := w.checkEnd(f, c); status == "exited" && wrong != "" {
		return fmt.Sprintf("container %s: exit code %d (%s), want %d, restarted %d times: %s",
			f.name, c.State.ExitCode, c.State.Error, f.code, c.RestartCount, wrong)
	}
	return ""
}

// unknownStatus is told of a process of which nobody could learn how it ended,
// with a code of its own; a start that failed has another, and says why.
const (
	unknownStatus = "the exit status is unknown: nobody was there to learn it"
	codeUnknown   = 255
	codeNoStart   = 128
)

// checkEnd says what is not true of a container that has ended. The daemon's
// death excuses nothing of it: an exit that it did not record is the next one's to
// record, and the start that it did not finish counts.
func (w *world) checkEnd(f *fate, c container) string {
	policy := f.restarts >= 0
	switch e := c.State.Error; {
	case f.code < 0:
		return "it was never to run"
	case e == unknownStatus && (!w.excused || c.State.ExitCode != codeUnknown):
		return "somebody must have known how it ended"
	case e == unknownStatus, e == "" && c.State.ExitCode == f.code:
	case e == "" || c.State.ExitCode != codeNoStart || len(e) < 10:
		return "that is not how it ended"
	case !f.unsure && !policy:
		return "every start succeeded"
	}
	if policy && c.RestartCount != f.restarts {
		return fmt.Sprintf("want %d restarts", f.restarts)
	}
	if !policy && c.RestartCount != 0 {
		return "no policy restarts it"
	}
	return ""
}

// checkResidents says which of the residents do not do what they should.
func (w *world) checkResidents(all map[string]container) (wrong []string) {
	by := map[string]container{}
	for _, c := range all {
		by[strings.TrimPrefix(c.Name, "/")] = c
	}
	want := map[string][]string{
		"count": {"running"}, "spew": {"running"}, "web": {"running"}, "again": {"running", "restarting"},
		"stopped": {"exited"}, "exited": {"exited"},
	}
	for n, may := range want {
		if s := by[n].State.Status; !slices.Contains(may, s) {
			wrong = append(wrong, fmt.Sprintf("resident %s is %q: %s", n, s, by[n].State.Error))
		}
	}
	for n, code := range map[string]int{"exited": 11, "stopped": 137} {
		if s := by[n].State; s.ExitCode != code || s.Error != "" {
			wrong = append(wrong, fmt.Sprintf("resident %s: exit code %d (%s), want %d", n, s.ExitCode, s.Error, code))
		}
	}
	if n := by["again"].RestartCount; n < w.restarts {
		wrong = append(wrong, fmt.Sprintf("resident again: restarted %d times, and it was %d", n, w.restarts))
	} else {
		w.restarts = n
	}
	if err := get(w.h.HTTP(), "http://127.0.0.1:8080/", "resident"); err != nil {
		wrong = append(wrong, fmt.Sprintf("resident web: %v", err))
	}
	return wrong
}

// checkLogs reads the logs of the residents: whole, and growing.
func (w *world) checkLogs() (wrong []string) {
	for n, tail := range map[string]string{"count": "all", "spew": "all", "exited": "all"} {
		a := w.api.get("/containers/" + n + "/logs?stdout=1&tail=" + tail)
		if !a.ok() {
			wrong = append(wrong, a.String())
			continue
		}
		got, err := lines(a.body)
		first := 1
		if n == "spew" && err == nil && len(got) > 0 { // the oldest are rotated away
			_, err = fmt.Sscanf(got[0], "line %d", &first)
		}
		if err == nil {
			err = sequence(got, first)
		}
		if err == nil && len(got) == 0 {
			err = fmt.Errorf("it is empty")
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("log of %s: %v", n, err))
		}
	}
	return wrong
}

// growing says that the log of "count" goes on.
func (w *world) growing() bool {
	last := func() string {
		got, err := lines(w.api.get("/containers/count/logs?stdout=1&tail=1").body)
		if err != nil || len(got) == 0 {
			return ""
		}
		return got[0]
	}
	was, grew := last(), false
	w.soon(func() bool { grew = last() != was; return grew })
	return grew
}

func (w *world) names(path string) (out []string) {
	var list []struct{ Name string }
	if err := w.api.get(path).into(&list); err != nil {
		return []string{err.Error()}
	}
	for _, x := range list {
		out = append(out, x.Name)
	}
	slices.Sort(out)
	return out
}

func (w *world) volumes() (out []string) {
	var list struct{ Volumes []struct{ Name string } }
	if err := w.api.get("/volumes").into(&list); err != nil {
		return []string{err.Error()}
	}
	for _, x := range list.Volumes {
		out = append(out, x.Name)
	}
	slices.Sort(out)
	return out
}

func (w *world) tags() (out []string) {
	var list []struct{ RepoTags, RepoDigests []string }
	if err := w.api.get("/images/json").into(&list); err != nil {
		return []string{err.Error()}
	}
	for _, x := range list {
		out = append(out, append(x.RepoTags, x.RepoDigests...)...)
	}
	slices.Sort(out)
	return out
}

// tidy removes all that is not a resident's. Every removal must succeed.
func (w *world) tidy() {
	w.t.Helper()
	ids, err := w.list()
	if err != nil {
		w.t.Error(err)
	}
	keep := residents()
	for n, id := range ids {
		if _, ok := keep[n]; !ok {
			w.gone(w.api.delete("/containers/" + id + "?force=1&v=1"))
		}
	}
	for _, n := range w.names("/networks") {
		if !slices.Contains(w.clean.networks, n) {
			w.gone(w.api.delete("/networks/" + n))
		}
	}
	for _, n := range w.volumes() {
		w.gone(w.api.delete("/volumes/" + n))
	}
	for _, n := range w.tags() {
		if !slices.Contains(w.clean.images, n) && !strings.Contains(n, "@") {
			w.gone(w.api.delete("/images/" + n))
		}
	}
	var none any
	if err := w.api.post("/images/prune", nil).into(&none); err != nil {
		w.t.Error(err)
	}
}

func (w *world) gone(a answer) {
	w.t.Helper()
	if !a.ok() && a.status != 404 {
		w.t.Errorf("clean up: %s", a)
	}
}

// same says what differs from how it was with the residents alone.
func (w *world) same(now snapshot) (wrong []string) {
	for _, p := range []struct {
		what     string
		was, now []string
	}{
		{"firewall", w.clean.rules, now.rules},
		{"networks", w.clean.networks, now.networks},
		{"volumes", w.clean.volumes, now.volumes},
		{"images", w.clean.images, now.images},
		{"files", w.clean.records, now.records},
	} {
		for _, x := range p.now {
			if !slices.Contains(p.was, x) {
				wrong = append(wrong, p.what+": left: "+x)
			}
		}
		for _, x := range p.was {
			if !slices.Contains(p.now, x) {
				wrong = append(wrong, p.what+": missing: "+x)
			}
		}
	}
	return wrong
}

// awaitClean tidies up and waits until the host is as it was.
func (w *world) awaitClean(patience time.Duration) {
	w.t.Helper()
	w.tidy()
	var wrong []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var now snapshot
		if now, wrong = w.look(nil); len(wrong) == 0 {
			wrong = w.same(now)
		}
		if len(wrong) == 0 {
			return
		}
	}
	w.t.Errorf("not clean within %s:\n  %s", patience, strings.Join(wrong, "\n  "))
}
