package integration

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// variable is the secret that a container is given in its environment. Unlike
// the others it is in the record and in the answers about the container, as with
// Docker, and nowhere else.
const variable = "variable of a container"

// planted are the secrets of a run.
func planted() map[string]string {
	secrets := map[string]string{}
	for _, name := range []string{
		"password", "wrong password", "password of the daemon's auth_file", "password of a mirror", "identity token", "wrong identity token", "access token",
		"registry token", "wrong registry token", "password in a malformed header", "signature of an address", "input of a process", variable,
	} {
		secrets[name] = "sesame" + rand.Text()
	}
	return secrets
}

// sightings are the secrets seen by now, and where.
type sightings struct {
	forms map[string][]string // by secret
	seen  map[string]bool
}

// newSightings looks for secrets as they are and in base64 inside something
// else, as in the headers that carry them.
func newSightings(secrets map[string]string) *sightings {
	s := &sightings{map[string][]string{}, map[string]bool{}}
	for name, secret := range secrets {
		s.forms[name] = []string{secret}
		for before := range 3 {
			text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			s.forms[name] = append(s.forms[name], text[4:len(text)-4]) // without what depends on neighbours
		}
	}
	return s
}

// look notes the secrets in data, except those named.
func (s *sightings) look(where string, data []byte, except ...string) {
	for name, forms := range s.forms {
		for _, f := range forms {
			if !slices.Contains(except, name) && bytes.Contains(data, []byte(f)) {
				s.seen[name+" in "+where] = true
			}
		}
	}
}

// secretive is a run of the daemon that leaks are looked for in.
type secretive struct {
	*testing.T
	h       *testkit.Host
	secrets map[string]string
	*sightings
}

// Whatever passes through the daemon and its drivers to let a client in, at a
// registry or at the API, is in no log, record, argument, environment, trace,
// answer or core dump, whether it is right or wrong.
func TestPlantedSecretsShowNowhere(t *testing.T) {
	secrets := planted()
	execs := filepath.Join(t.TempDir(), "execs")
	server := testkit.NewAuthority(t).Write(t, x509.ExtKeyUsageServerAuth)
	secrets["key of the API"] = keyMaterial(t, server)
	h := testkit.New(t,
		// All programs that are executed by the daemon or what it starts, with
		// arguments and environment, and how each of them ends.
		testkit.WithTracer("sh", "-c", `ulimit -c unlimited; exec strace -D -f --seccomp-bpf -v -s 1000000 -A -o "$0" -e trace=execve,execveat -e signal=ABRT -- "$@"`, execs),
		testkit.WithEnv("GOTRACEBACK=crash"), // what fails in Go asks for a core dump
		testkit.WithArgs(append([]string{"--host", "tcp://127.0.0.1:2376"}, testkit.TLSFlags(server)...)...),
	)
	certs := startGuards(t, h, secrets)
	authFile := filepath.Join(h.Dir, "auth.json")
	auth := base64.StdEncoding.EncodeToString([]byte("daemon:" + secrets["password of the daemon's auth_file"]))
	write(t, authFile, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, simple, auth))
	h.WriteConfig(fmt.Sprintf("log_level = \"trace\"\n[registry.options]\ncerts_dir = %q\nauth_file = %q\nmirrors = { \"docker.io\" = [\"http://%s\"] }\n", certs, authFile, h.Registry))
	h.Start()
	s := secretive{t, h, secrets, newSightings(secrets)}

	first := s.clients(testkit.DockerCLI())
	h.Kill()
	h.Start()
	s.hostileRequests()
	for _, pid := range drivers(t, h) {
		kill(t, pid)
	}
	second := s.clients(testkit.Bin("strake"))
	s.answers(first, second)
	dumped := s.crash(execs)
	s.mirrorWithAPassword()
	s.files()
	s.programs(execs)
	for _, where := range slices.Sorted(maps.Keys(s.seen)) {
		t.Errorf("%s", where)
	}
	for _, line := range dumped {
		t.Errorf("a core was dumped: %s", line)
	}
}

// run runs a CLI with a secret as its input, and looks at what it prints. It must
// end with the exit code given.
func (s secretive) run(program string, code int, input string, args ...string) string {
	s.Helper()
	cmd := s.h.Command(program, args...)
	cmd.Stdin = strings.NewReader(s.secrets[input])
	r := s.h.Run(cmd)
	name := filepath.Base(program)
	s.look("output of "+name+" "+args[0], []byte(r.Stdout+r.Stderr))
	if r.Code != code {
		s.Errorf("%s %s: exit code %d, want %d\n%s%s", name, strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Out()
}

// clients does what people do with secrets, by a CLI, and returns a container.
func (s secretive) clients(program string) string {
	s.Helper()
	do := func(code int, args ...string) string {
		s.Helper()
		return s.run(program, code, "", args...)
	}
	own := "/own/busybox:" + filepath.Base(program)
	for _, registry := range []string{guarded, simple} {
		s.run(program, 1, "wrong password", "login", "-u", "ali", "--password-stdin", registry)
		s.run(program, 0, "password", "login", "-u", "ali", "--password-stdin", registry)
		do(0, "pull", registry+"/library/busybox")
		do(0, "tag", registry+"/library/busybox", registry+own)
		do(0, "push", registry+own)
	}
	do(1, "pull", guarded+"/broken/nginx") // its signed addresses are refused
	do(0, "logout", guarded)
	do(0, "logout", simple)
	do(1, "pull", guarded+"/library/nginx")
	do(0, "pull", simple+"/library/busybox") // by the daemon's own credentials

	vars := filepath.Join(s.h.Dir, "vars")
	write(s.T, vars, "TOKEN="+s.secrets[variable]+"\n")
	id := do(0, "run", "-d", "--env-file", vars, "--health-cmd", "true", "--health-interval", "3s", "busybox", "sh", "-c", "echo up; sleep 1000")
	do(0, "exec", "--env-file", vars, id, "sh", "-c", "test $TOKEN")
	s.run(program, 0, "input of a process", "exec", "-i", id, "sh", "-c", "read -r secret || test $secret")
	do(0, "logs", id)
	do(0, "top", id)
	if program == testkit.Bin("strake") {
		do(0, "run", "--rm", "--trace", "--pull", "always", "--env-file", vars, "busybox", "sh", "-c", "test $TOKEN")
		do(126, "run", "--rm", "--trace", "--env-file", vars, "busybox", "/etc")
	}
	return id
}

// hostileRequests sends secrets that are wrong, to the wrong place or spoilt.
func (s secretive) hostileRequests() {
	s.Helper()
	header := func(format, secret string) string {
		return base64.URLEncoding.EncodeToString(fmt.Appendf(nil, format, s.secrets[secret]))
	}
	pull := "/images/create?fromImage=" + guarded + "/library/busybox&tag="
	for _, c := range []struct {
		path, auth, body string
		good             bool
	}{
		{pull + "latest", header(`{"username":"ali","password":%q}`, "wrong password"), "", false},
		{pull + "latest", header(`{"identitytoken":%q}`, "wrong identity token"), "", false},
		{pull + "latest", header(`{"identitytoken":%q}`, "identity token"), "", true},
		{pull + "latest", header(`{"registrytoken":%q}`, "wrong registry token"), "", false},
		{pull + "latest", header(`{"registrytoken":%q}`, "registry token"), "", true},
		{pull + "nosuchtag", header(`{"registrytoken":%q}`, "registry token"), "", false},
		{pull + "latest", header(`{"username":"ali","password":"%s}`, "password in a malformed header"), "", false},
		{pull + "latest", s.secrets["password in a malformed header"] + "%", "", false},
		{"/auth", "", `{"username":"ali","password":"` + s.secrets["password in a malformed header"], false},
		{"/auth", "", `{"username":"ali","password":["` + s.secrets["password in a malformed header"] + `"]}`, false},
		{"/auth", "", `{"username":"ali","password":"` + s.secrets["wrong password"] + `","serveraddress":"` + guarded + `"}`, false},
		{"/auth", "", `{"username":"ali","password":"` + s.secrets["wrong password"] + `","serveraddress":"127.0.0.1:1"}`, false},
		{"/images/busybox/push?tag=latest", header(`{"registrytoken":%q}`, "wrong registry token"), "", true},
	} {
		req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://strake"+c.path, strings.NewReader(c.body))
		if err != nil {
			s.Fatal(err)
		}
		req.Header.Set("X-Registry-Auth", c.auth)
		req.Header.Set("Content-Type", "application/json")
		status, body := s.request(req)
		s.look("answer to POST "+c.path, body)
		if (status == http.StatusOK) != c.good {
			s.Errorf("POST %s: %d %s", c.path, status, body)
		}
	}
}

func (s secretive) request(req *http.Request) (status int, body []byte) {
	s.Helper()
	resp, err := s.h.API().Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, body
}

// answers looks at all that the API tells.
func (s secretive) answers(containers ...string) {
	s.Helper()
	paths := []string{
		"/info", "/version", "/containers/json?all=1&size=1", "/images/json?all=1", "/networks", "/networks/bridge", "/volumes", "/system/df",
		fmt.Sprintf("/events?since=1&until=%d", time.Now().Unix()), "/strake/v1/drivers", "/images/busybox/json", "/images/busybox/history",
	}
	for _, d := range []string{"overlay", "runc", "network.bridge", "http"} {
		paths = append(paths, "/strake/v1/drivers/"+d)
	}
	for _, c := range containers {
		paths = append(paths, "/containers/"+c+"/json", "/containers/"+c+"/logs?stdout=1&stderr=1")
	}
	for _, p := range paths {
		req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://strake"+p, http.NoBody)
		if err != nil {
			s.Fatal(err)
		}
		status, body := s.request(req)
		if status != http.StatusOK || len(body) < 2 {
			s.Errorf("GET %s: %d %s", p, status, body)
		}
		var except []string
		if strings.HasPrefix(p, "/containers/") && strings.HasSuffix(p, "/json") {
			except = []string{variable}
			if !bytes.Contains(body, []byte(s.secrets[variable])) {
				s.Errorf("GET %s does not show the container's variable", p)
			}
		}
		s.look("answer to GET "+p, body, except...)
	}
}

// mirrorWithAPassword starts the daemon with passwords where none belong: it
// says so, and not which.
func (s secretive) mirrorWithAPassword() {
	s.Helper()
	s.h.Stop()
	for _, options := range []string{`mirrors = { "docker.io" = ["http://ali:%s@mirror.example"] }`, `insecure = ["http://ali:%s@mirror.example"]`, `insecure = ["ali:%s@mirror.example"]`} {
		s.h.WriteConfig("[registry.options]\n" + fmt.Sprintf(options, s.secrets["password of a mirror"]) + "\n")
		before := len(s.h.Log())
		if err := s.h.TryStart(); err == nil {
			s.Errorf("%s: taken", options)
			s.h.Stop()
		} else if log := s.h.Log()[before:]; !strings.Contains(log, "mirror.example") {
			s.Errorf("%s: the complaint does not name it: %s", options, log)
		}
	}
	s.h.WriteConfig("")
	s.h.Start() // so that it takes down what runs
}

// crash has daemon and drivers fail, and returns what the tracer says of cores.
func (s secretive) crash(execs string) (dumped []string) {
	s.Helper()
	pids := slices.Collect(maps.Values(drivers(s.T, s.h)))
	if err := syscall.Kill(s.h.Pid(), syscall.SIGUSR1); err != nil { // the stacks go to the log
		s.Fatal(err)
	}
	s.h.Eventually(5*time.Second, "the stacks are logged", func() bool { return strings.Contains(s.h.Log(), "goroutine ") })
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
			s.Fatal(err)
		}
		s.h.Eventually(20*time.Second, "a driver has ended", func() bool { return !testkit.Alive(pid) })
	}
	pids = append(pids, s.h.Pid())
	s.h.Crash()
	s.h.Start()
	// The same with a program that permits it shows that this machine dumps.
	control := exec.CommandContext(s.Context(), "sh", "-c", "ulimit -c unlimited; kill -ABRT $$")
	control.Dir = s.TempDir()
	control.Run() // always "signal: aborted"
	if state, ok := control.ProcessState.Sys().(syscall.WaitStatus); !ok || !state.CoreDump() {
		s.Log("this machine dumps no cores: nothing is known about those")
	}
	trace, err := os.ReadFile(execs)
	if err != nil {
		s.Fatal(err)
	}
	for _, pid := range pids {
		ends := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\+\+\+ killed by SIGABRT.*$`, pid)).FindString(string(trace))
		switch {
		case ends == "":
			s.Errorf("process %d was to fail, and the tracer does not say so", pid)
		case strings.Contains(ends, "core dumped"):
			dumped = append(dumped, ends)
		}
	}
	return dumped
}

// files looks at all that the daemon has on disk.
func (s secretive) files() {
	s.Helper()
	count, logs := 0, 0
	look := func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "netns" {
			return fs.SkipDir // namespaces, which look like files
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		count++
		if strings.HasSuffix(path, "log") {
			logs++
			s.look(path, data)
		} else {
			s.look(path, data, variable)
		}
		return nil
	}
	for _, top := range []string{s.h.LogPath(), filepath.Join(s.h.Dir, "state"), s.h.RunDir} {
		if err := filepath.WalkDir(top, look); err != nil {
			s.Fatal(err)
		}
	}
	if count < 50 || logs < 8 {
		s.Errorf("only %d files and %d logs were found", count, logs)
	}
}

// programs looks at what was executed, and at what is running still.
func (s secretive) programs(execs string) {
	s.Helper()
	trace, err := os.ReadFile(execs)
	if err != nil {
		s.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(trace)) {
		_, call, found := strings.Cut(line, "execve(")
		if !found {
			continue
		}
		count++
		args, _, _ := strings.Cut(call, "], [")
		_, program, _ := strings.Cut(args, "[")
		program, _, _ = strings.Cut(program, ",")
		s.look("arguments of "+program, []byte(args))
		switch program {
		case `"sh"`, `"/bin/sh"`, `"sleep"`: // in a container
			s.look("environment of "+program, []byte(call), variable)
		default:
			s.look("environment of "+program, []byte(call))
		}
	}
	if count < 30 {
		s.Errorf("only %d programs were executed", count)
	}
	shims := 0
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range processes {
		args, err := os.ReadFile(p)
		if err != nil {
			continue // it ended
		}
		s.look("arguments of a process: "+p, args)
		if bytes.Contains(args, []byte("strake-shim")) && bytes.Contains(args, []byte(s.h.Dir)) {
			shims++
			env, err := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
			if err != nil {
				s.Error(err)
			}
			s.look("environment of a shim", env)
		}
	}
	if shims == 0 {
		s.Error("no shim was found")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
