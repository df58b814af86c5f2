package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fate is what must have become of an object, by what the client was told of
// it.
type fate struct {
	kind string // container, image, network, volume
	name string
	// may lists the statuses that are true to what was answered. A container
	// that is not there is "absent", anything else "absent" or "there".
	may []string
	// code is the exit code that an exited container must show, unless it could
	// not be started; -1: it never runs.
	code int
	// restarts are those that an exited container must show; -1: no policy
	// restarts it.
	restarts int
	// unsure: a call failed, or nobody knows.
	unsure  bool
	history []string
}

// teller tells one story: it makes calls one after the other and keeps in mind
// what they must have led to.
type teller struct {
	w        *world
	name     string // begins all names in the story
	daemon   int    // the pid of who answers
	fates    []*fate
	lies     []string // answers that cannot be true
	doubts   []string // answers that cannot be true unless nobody was left to know
	refusals []string
}

// thing begins an object's fate.
func (s *teller) thing(kind, suffix string) *fate {
	f := &fate{kind: kind, name: s.name + suffix, may: []string{"absent"}, code: -1, restarts: -1}
	s.fates = append(s.fates, f)
	return f
}

// step makes a call about f. When it succeeds, f must be in one of then; when
// it is refused, in one of those it was before, or of also; when nobody knows, in
// any of them. It says whether the story can go on.
func (s *teller) step(f *fate, a answer, then []string, also ...string) bool {
	f.history = append(f.history, a.String())
	if a.ok() {
		f.may = then
		return true
	}
	s.failed(a)
	f.unsure = true
	if f.may = slices.Concat(f.may, also); !a.refused() {
		f.may = slices.Concat(f.may, then)
	}
	return false
}

// failed notes a call that had no success. Without an answer it is a lie, unless
// the daemon died.
func (s *teller) failed(a answer) {
	switch {
	case a.late():
		s.lies = append(s.lies, "no answer within "+patience.String()+": "+a.call)
	case a.refused():
		s.refuse(a)
	case s.w.survives(s.daemon):
		s.lies = append(s.lies, "the daemon lives and gives no answer: "+a.String())
	}
}

// get asks for something.
func (s *teller) get(path string) answer {
	a := s.w.api.get(path)
	if !a.ok() {
		s.failed(a)
	}
	return a
}

// refuse notes a refusal, which must say why.
func (s *teller) refuse(a answer) {
	s.refusals = append(s.refusals, a.String())
	if len(strings.TrimSpace(a.message())) < 10 {
		s.lies = append(s.lies, "an error without a reason: "+a.String())
	}
}

func (s *teller) lie(f *fate, format string, args ...any) {
	s.lies = append(s.lies, f.tell(format, args...))
}

func (s *teller) doubt(f *fate, format string, args ...any) {
	s.doubts = append(s.doubts, f.tell(format, args...))
}

func (f *fate) tell(format string, args ...any) string {
	return fmt.Sprintf("%s %s: ", f.kind, f.name) + fmt.Sprintf(format, args...) + "\n    " + strings.Join(f.history, "\n    ")
}

// object is a JSON object of the API.
type object map[string]any

// create makes a container that runs a script.
func (s *teller) create(f *fate, script string, host object, more object) bool {
	body := object{"Image": "busybox", "Cmd": []string{"sh", "-c", script}, "HostConfig": host, "StopSignal": "SIGKILL"}
	for k, v := range more {
		body[k] = v
	}
	return s.step(f, s.w.api.post("/containers/create?name="+f.name, body), []string{"created"})
}

func (s *teller) call(f *fate, path string) answer {
	return s.w.api.post("/containers/"+f.name+"/"+path, nil)
}

func (s *teller) remove(f *fate) bool {
	// A removal that failed half-way stays visible as dead.
	return s.step(f, s.w.api.delete("/containers/"+f.name+"?force=1&v=1"), []string{"absent"}, "dead", "exited", "created")
}

const short = 30 // lines of the short story

// tellShort runs a container to its end: its exit code and its output are
// known.
func tellShort(s *teller) {
	f := s.thing("container", "")
	f.code = 42
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done; exit 42", short)
	if !s.create(f, script, nil, nil) || !s.step(f, s.call(f, "start"), []string{"running", "exited"}) {
		return
	}
	a := s.call(f, "wait")
	if !s.step(f, a, []string{"exited"}, "exited") {
		return
	}
	var end struct{ StatusCode int }
	if err := json.Unmarshal(a.body, &end); err != nil || end.StatusCode != 42 {
		s.doubt(f, "wait says %s (%v), want 42", a.body, err)
	}
	if a := s.get("/containers/" + f.name + "/logs?stdout=1&stderr=1"); a.ok() {
		s.wholeLog(f, a.body, short)
	}
	s.remove(f)
}

// wholeLog checks a log that must have n lines.
func (s *teller) wholeLog(f *fate, frames []byte, n int) {
	got, err := lines(frames)
	if err == nil {
		err = sequence(got, 1)
	}
	if err == nil && len(got) != n {
		s.doubt(f, "log: %d lines, want %d", len(got), n)
	}
	if err != nil {
		s.lie(f, "log: %v", err)
	}
}

// tellServed publishes a port, fetches a page, and uses the verbs of running
// containers.
func tellServed(s *teller) {
	f := s.thing("container", "")
	f.code = 137
	ports := object{"PortBindings": object{"80/tcp": []object{{"HostPort": "0"}}}}
	script := `echo served >/tmp/index.html; exec httpd -f -p 80 -h /tmp`
	if !s.create(f, script, ports, object{"ExposedPorts": object{"80/tcp": object{}}}) ||
		!s.step(f, s.call(f, "start"), []string{"running"}) {
		return
	}
	s.fetch(f)
	if !s.step(f, s.w.api.begin("/containers/"+f.name+"/attach?stream=1&stdout=1"), []string{"running"}) || !s.exec(f) {
		return
	}
	if !s.step(f, s.call(f, "pause"), []string{"paused"}, "paused") ||
		!s.step(f, s.call(f, "unpause"), []string{"running"}, "running") {
		return
	}
	if !s.step(f, s.w.api.post("/containers/"+f.name+"/update", object{"Memory": 64 << 20, "MemorySwap": 128 << 20}), []string{"running"}) {
		return
	}
	if !s.rename(f) {
		return
	}
	if !s.step(f, s.call(f, "restart?t=0"), []string{"running"}, "exited") {
		return
	}
	s.fetch(f)
	if s.step(f, s.call(f, "stop?t=0"), []string{"exited"}, "exited") {
		s.remove(f)
	}
}

// fetch gets the page of a container that serves by its published port.
func (s *teller) fetch(f *fate) {
	a := s.get("/containers/" + f.name + "/json")
	if !a.ok() {
		return
	}
	var c struct {
		State           struct{ Status string }
		NetworkSettings struct {
			Ports map[string][]struct{ HostPort string }
		}
	}
	if err := json.Unmarshal(a.body, &c); err != nil || c.State.Status != "running" {
		s.lie(f, "inspect says %q (%v) after a start that succeeded", c.State.Status, err)
		return
	}
	bound := c.NetworkSettings.Ports["80/tcp"]
	if len(bound) == 0 {
		s.lie(f, "no port is published after a start that succeeded")
		return
	}
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = get(s.w.h.HTTP(), "http://127.0.0.1:"+bound[0].HostPort+"/", "served"); err == nil {
			return
		}
	}
	s.lie(f, "port %s: %v", bound[0].HostPort, err)
}

// get fetches a page that must say want.
func get(c *http.Client, url, want string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && strings.TrimSpace(string(b)) != want {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

// exec runs a command whose output and exit code are known.
func (s *teller) exec(f *fate) bool {
	a := s.w.api.post("/containers/"+f.name+"/exec", object{"Cmd": []string{"sh", "-c", "echo line 1; echo line 2; exit 9"}, "AttachStdout": true, "AttachStderr": true})
	if !s.step(f, a, []string{"running"}) {
		return false
	}
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil {
		s.lie(f, "exec: %v", err)
		return false
	}
	a = s.w.api.post("/exec/"+made.ID+"/start", object{})
	if a.ok() && strings.Contains(string(a.body), "OCI runtime exec failed: ") { // said in the stream, as Docker does
		a.status = http.StatusBadRequest
	}
	if !s.step(f, a, []string{"running"}) {
		return false
	}
	out, err := lines(a.body)
	if inspected := s.get("/exec/" + made.ID + "/json"); inspected.ok() {
		var e struct{ ExitCode *int }
		if uerr := json.Unmarshal(inspected.body, &e); uerr != nil || e.ExitCode == nil || *e.ExitCode != 9 {
			s.doubt(f, "exec: inspect says %s, want exit code 9", inspected.body)
		} else if err != nil || !slices.Equal(out, []string{"line 1", "line 2"}) {
			s.doubt(f, "exec: output %q (%v)", out, err)
		}
	}
	return true
}

// rename gives the container another name. Both cannot be.
func (s *teller) rename(f *fate) bool {
	next := s.thing("container", "-renamed")
	a := s.w.api.post("/containers/"+f.name+"/rename?name="+next.name, nil)
	f.history = append(f.history, a.String())
	next.history = f.history
	next.code = f.code
	if a.ok() {
		next.may, f.may = f.may, []string{"absent"}
		*f, *next = *next, *f // the story goes on with the new name
		return true
	}
	if s.failed(a); !a.refused() {
		next.may = []string{"absent", "running"}
		f.may = append(f.may, "absent")
	}
	return false
}

// tellPolicy has a container restarted by its policy.
func tellPolicy(s *teller) {
	f := s.thing("container", "")
	f.code, f.restarts = 5, 2
	policy := object{"RestartPolicy": object{"Name": "on-failure", "MaximumRetryCount": 2}}
	if !s.create(f, "exit 5", policy, nil) || !s.step(f, s.call(f, "start"), []string{"exited"}) {
		return
	}
	s.w.soon(func() bool { return s.w.status(f.name) == "exited" })
}

// tellRemoved runs a container that is removed at its end.
func tellRemoved(s *teller) {
	f := s.thing("container", "")
	f.code = 3
	if !s.create(f, "exit 3", object{"AutoRemove": true}, nil) {
		f.may = append(f.may, "absent") // the next daemon removes what was not started
		return
	}
	if !s.step(f, s.call(f, "start"), []string{"absent"}, "absent") {
		f.may = append(f.may, "absent")
		return
	}
	s.w.soon(func() bool { return s.w.status(f.name) == "absent" })
}

// tellImage pulls, uses, names and removes an image.
func tellImage(s *teller) {
	f, c, tag := s.thing("image", ""), s.thing("container", "-of"), s.thing("image", "-tag")
	f.name = s.w.images[int(s.w.turn.Add(1))%len(s.w.images)]
	was := s.w.api.get("/images/" + f.name + "/json")
	if f.may = []string{presence(was)}; f.may[0] == "unknown" {
		s.failed(was)
		f.may = []string{"absent", "there"}
	}
	if !s.step(f, s.w.api.pull(f.name), []string{"there"}) {
		return
	}
	a := s.w.api.post("/containers/create?name="+c.name, object{"Image": f.name, "Cmd": []string{"cat", "/etc/last"}})
	if !s.step(c, a, []string{"created"}) {
		return
	}
	if s.step(tag, s.w.api.post("/images/"+f.name+"/tag?repo="+tag.name+"&tag=latest", nil), []string{"there"}) {
		s.step(tag, s.w.api.delete("/images/"+tag.name), []string{"absent"}, "absent")
	}
	if s.remove(c) {
		s.step(f, s.w.api.delete("/images/"+f.name), []string{"absent"}, "absent")
	}
}

// tellThings makes a network and a volume and has a container use them.
func tellThings(s *teller) {
	v, n, c := s.thing("volume", "-v"), s.thing("network", "-n"), s.thing("container", "-c")
	if !s.step(v, s.w.api.post("/volumes/create", object{"Name": v.name}), []string{"there"}) ||
		!s.step(n, s.w.api.post("/networks/create", object{"Name": n.name, "Driver": "bridge"}), []string{"there"}) {
		return
	}
	c.code = 137
	host := object{"Binds": []string{v.name + ":/data"}, "NetworkMode": n.name, "Tmpfs": object{"/scratch": ""}}
	if !s.create(c, "echo kept >/data/file; exec sleep 1000", host, object{"Volumes": object{"/anonymous": object{}}}) ||
		!s.step(c, s.call(c, "start"), []string{"running"}) {
		return
	}
	if !s.step(c, s.w.api.post("/networks/bridge/connect", object{"Container": c.name}), []string{"running"}) ||
		!s.step(c, s.w.api.post("/networks/"+n.name+"/disconnect", object{"Container": c.name, "Force": true}), []string{"running"}) {
		return
	}
	if !s.step(c, s.call(c, "kill"), []string{"exited", "running"}, "exited", "running") || !s.remove(c) {
		return
	}
	s.step(n, s.w.api.delete("/networks/"+n.name), []string{"absent"}, "absent")
	s.step(v, s.w.api.delete("/volumes/"+v.name), []string{"absent"}, "absent")
}

// stories are told side by side.
func stories() map[string]func(*teller) {
	return map[string]func(*teller){
		"short": tellShort, "served": tellServed, "policy": tellPolicy, "removed": tellRemoved, "image": tellImage, "things": tellThings,
	}
}

// sequence checks that lines count on from first.
func sequence(got []string, first int) error {
	for i, l := range got {
		if want := fmt.Sprintf("line %d", first+i); l != want {
			return fmt.Errorf("line %d of %d is %q, want %q", i+1, len(got), l, want)
		}
	}
	return nil
}
