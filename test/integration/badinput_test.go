package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// badInput is something that a user or client gets wrong: by the docker and
// strake CLIs, by the API, or by all of them. What is left empty is not tried.
type badInput struct {
	// args are the CLI's arguments, code its exit code; stderr has words.
	args  []string
	code  int
	words []string
	// The request and the answer to it; a body that begins with "{" is JSON.
	method, path, body string
	header             [2]string
	status             int
	message            string // part of the answer's message
}

// create is the path that makes a container.
const create = "/v1.51/containers/create"

// sesame is the password sesame as htpasswd -B writes it.
const sesame = "$2y$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW"

// badInputs is the table. The host runs a container "taken" that publishes
// port 8081, has one "ended", and listens on port 8099 itself; the registry at
// locked wants sesame.
func badInputs(registry, locked string) map[string]badInput {
	all := map[string]badInput{}
	for _, some := range []map[string]badInput{badImages(registry, locked), badSettings(), badCommands(), badRequests()} {
		maps.Copy(all, some)
	}
	return all
}

func badImages(registry, locked string) map[string]badInput {
	return map[string]badInput{
		"unknown image": {
			args: []string{"run", registry + "/library/nowhere"}, code: 125, words: []string{registry + "/library/nowhere"},
			method: "POST", path: create, body: `{"Image":"nowhere"}`, status: 404, message: "No such image: nowhere:latest",
		},
		"unknown tag": {
			args: []string{"pull", registry + "/library/busybox:nope"}, code: 1, words: []string{"nope", "not found"},
			method: "POST", path: "/v1.51/images/create?fromImage=" + registry + "/library/busybox&tag=nope", status: 404, message: "not found",
		},
		"bad image reference": {
			args: []string{"run", "case/UPPER"}, code: 125, words: []string{"invalid reference format", "must be lowercase"},
			method: "POST", path: "/v1.51/images/create?fromImage=case/UPPER&tag=1", status: 400, message: "invalid reference format",
		},
		"unreachable registry": {
			args: []string{"run", "127.0.0.1:1/some/image"}, code: 125, words: []string{"127.0.0.1:1", "connection refused"},
			method: "POST", path: "/v1.51/images/create?fromImage=127.0.0.1:1/some/image&tag=1", status: 503, message: "connection refused",
		},
		"wrong credentials": {
			args: []string{"login", "-u", "ali", "-p", "wrong", locked}, code: 1, words: []string{"unauthorized"},
			method: "POST", path: "/v1.51/auth", body: `{"username":"ali","password":"wrong","serveraddress":"` + locked + `"}`, status: 401, message: locked,
		},
		"no credentials": {
			args: []string{"run", locked + "/library/busybox"}, code: 125, words: []string{locked},
			method: "POST", path: "/v1.51/images/create?fromImage=" + locked + "/library/busybox&tag=latest", status: 404, message: "pull access denied for " + locked,
		},
		"unreadable credentials": {
			method: "POST", path: "/v1.51/images/create?fromImage=busybox&tag=latest", header: [2]string{"X-Registry-Auth", "%"}, status: 400, message: "invalid X-Registry-Auth header",
		},
	}
}

func badSettings() map[string]badInput {
	return map[string]badInput{
		"port in use by a container": {
			args: []string{"run", "--rm", "-d", "-p", "8081:80", "busybox", "top"}, code: 125, words: []string{"8081", "port is already allocated"},
		},
		"port in use by another program": {
			args: []string{"run", "--rm", "-d", "-p", "8099:80", "busybox", "top"}, code: 125, words: []string{"8099", "address already in use"},
		},
		"bad port": {
			args: []string{"run", "-p", "99999:80", "busybox"}, code: 125, words: []string{"99999"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"99999"}]}}}`, status: 400, message: `invalid port specification: "99999"`,
		},
		"bad container port": {
			args: []string{"run", "-p", "80:http", "busybox"}, code: 125, words: []string{"http"},
			method: "POST", path: create, body: `{"Image":"busybox","ExposedPorts":{"http/tcp":{}}}`, status: 400, message: "http",
		},
		"name in use": {
			args: []string{"run", "--name", "taken", "busybox"}, code: 125, words: []string{`The container name "/taken" is already in use by container`, "remove (or rename)"},
			method: "POST", path: create + "?name=taken", body: `{"Image":"busybox"}`, status: 409, message: `Conflict. The container name "/taken" is already in use by container`,
		},
		"name with bad characters": {
			args: []string{"run", "--name", "a b", "busybox"}, code: 125, words: []string{"Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
			method: "POST", path: create + "?name=a/b", body: `{"Image":"busybox"}`, status: 400, message: "Invalid container name (a/b)",
		},
		"missing bind source": {
			args: []string{"run", "--mount", "type=bind,src=/no/such/dir,dst=/x", "busybox"}, code: 125, words: []string{"bind source path does not exist: /no/such/dir"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"/no/such/dir","Target":"/x"}]}}`, status: 400, message: "bind source path does not exist: /no/such/dir",
		},
		"relative mount target": {
			args: []string{"run", "-v", "/tmp:x", "busybox"}, code: 125, words: []string{"x", "absolute"},
		},
		"memory limit below the minimum": {
			args: []string{"run", "-m", "1m", "busybox"}, code: 125, words: []string{"Minimum memory limit allowed is 6MB"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"Memory":1048576}}`, status: 400, message: "Minimum memory limit allowed is 6MB",
		},
		"unknown flag": {
			args: []string{"run", "--nosuchflag", "busybox"}, code: 125, words: []string{"unknown flag: --nosuchflag"},
		},
		"unknown restart policy": {
			args: []string{"run", "--restart", "sometimes", "busybox"}, code: 125, words: []string{"sometimes"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}`, status: 400, message: "unknown policy 'sometimes'",
		},
		"unknown network": {
			args: []string{"run", "--rm", "--network", "nope", "busybox"}, code: 125, words: []string{"network nope not found"},
		},
		"unknown runtime": {
			args: []string{"run", "--runtime", "nope", "busybox"}, code: 125, words: []string{"unknown or invalid runtime name: nope"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"Runtime":"nope"}}`, status: 400, message: "unknown or invalid runtime name: nope",
		},
		"unknown log driver": {
			args: []string{"run", "--log-driver", "nope", "busybox"}, code: 125, words: []string{"no log driver named 'nope' is registered"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"nope"}}}`, status: 400, message: "no log driver named 'nope' is registered",
		},
		"unknown capability": {
			args: []string{"run", "--cap-add", "FLY", "busybox"}, code: 125, words: []string{"FLY"},
			method: "POST", path: create, body: `{"Image":"busybox","HostConfig":{"CapAdd":["FLY"]}}`, status: 400, message: "FLY",
		},
	}
}

func badCommands() map[string]badInput {
	return map[string]badInput{
		"missing command": {
			args: []string{"run", "--rm", "busybox", "no-such-command"}, code: 127, words: []string{`exec: "no-such-command": executable file not found in $PATH`},
		},
		"command that is no program": {
			args: []string{"run", "--rm", "busybox", "/etc/passwd"}, code: 126, words: []string{"/etc/passwd", "permission denied"},
		},
		"no command at all": {
			method: "POST", path: create, body: `{"Image":"busybox","Entrypoint":[""]}`, status: 400, message: "no command specified",
		},
		"unknown user": {
			args: []string{"run", "--rm", "-u", "nobody-here", "busybox"}, code: 125, words: []string{"unable to find user nobody-here"},
		},
		"unknown signal": {
			args: []string{"kill", "-s", "NOPE", "taken"}, code: 1, words: []string{"NOPE"},
			method: "POST", path: "/v1.51/containers/taken/kill?signal=NOPE", status: 400, message: "NOPE",
		},
		"unknown container": {
			args: []string{"start", "nobody"}, code: 1, words: []string{"No such container: nobody"},
			method: "POST", path: "/v1.51/containers/nobody/start", status: 404, message: "No such container: nobody",
		},
		"a running container removed": {
			args: []string{"rm", "taken"}, code: 1, words: []string{"taken", "running"},
			method: "DELETE", path: "/v1.51/containers/taken", status: 409, message: "running",
		},
		"exec in an ended container": {
			args: []string{"exec", "ended", "true"}, code: 1, words: []string{"is not running"},
			method: "POST", path: "/v1.51/containers/ended/exec", body: `{"Cmd":["true"]}`, status: 409, message: "is not running",
		},
		"exec of a missing command": {
			args: []string{"exec", "taken", "no-such-command"}, code: 127, words: nil,
		},
		"unknown filter": {
			args: []string{"ps", "--filter", "colour=red"}, code: 1, words: []string{"invalid filter", "colour"},
			method: "GET", path: `/v1.51/containers/json?filters={"colour":["red"]}`, status: 400, message: "invalid filter",
		},
		"a container started twice": {
			method: "POST", path: "/v1.51/containers/taken/start", status: 304,
		},
	}
}

func badRequests() map[string]badInput {
	return map[string]badInput{
		"malformed JSON": {
			method: "POST", path: create, body: `{"Image":"busybox",}`, status: 400, message: "invalid JSON at byte 20: invalid character '}'",
		},
		"JSON of the wrong type": {
			method: "POST", path: create, body: `{"Image":"busybox","Env":"A=1"}`, status: 400, message: `field "Config.Env" must be []string, not string`,
		},
		"body that is not JSON": {
			method: "POST", path: create, body: `Image=busybox`, header: [2]string{"Content-Type", "application/x-www-form-urlencoded"}, status: 400, message: "unsupported Content-Type header",
		},
		"oversized body": {
			method: "POST", path: create, body: `{"Image":"busybox","Env":["A=` + strings.Repeat("a", 5<<20) + `"]}`, status: 413, message: "request body is larger than 4194304 bytes",
		},
		"API version too new": {
			method: "GET", path: "/v1.99/containers/json", status: 400, message: "client version 1.99 is too new. Maximum supported API version is 1.56",
		},
		"API version too old": {
			method: "GET", path: "/v1.10/containers/json", status: 400, message: "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
		},
		"unknown endpoint": {
			method: "GET", path: "/v1.51/nowhere", status: 404, message: "page not found",
		},
		"swarm": {
			args: []string{"service", "ls"}, code: 1, words: []string{"This node is not a swarm manager."},
			method: "GET", path: "/v1.51/services", status: 503, message: "This node is not a swarm manager.",
		},
	}
}

func TestBadInputIsRefusedClearlyAndLeavesNothingBehind(t *testing.T) {
	h := testkit.Start(t)
	locked := lockedRegistry(t, h)
	h.MustDocker("run", "-d", "--name", "taken", "-p", "8081:80", "busybox", "top")
	h.MustDocker("run", "--name", "ended", "busybox", "true")
	occupy(t, h, "8099")
	cases := badInputs(h.Registry, locked)
	names := make([]string, 0, len(cases))
	for name := range cases {
		names = append(names, name)
	}
	slices.Sort(names)
	before := everything(t, h)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			cases[name].try(t, h)
			var after string
			deadline := time.Now().Add(5 * time.Second)
			for after = everything(t, h); after != before && time.Now().Before(deadline); after = everything(t, h) {
				time.Sleep(20 * time.Millisecond)
			}
			if after != before {
				t.Errorf("something was left behind; before:\n%s\nafter:\n%s", before, after)
				before = after
			}
		})
	}
}

func (c badInput) try(t *testing.T, h *testkit.Host) {
	t.Helper()
	if c.args != nil {
		clis := map[string]func(...string) testkit.Result{"docker": h.Docker, "strake": h.Strake}
		if c.args[0] == "service" {
			delete(clis, "strake") // has no swarm
		}
		for cli, run := range clis {
			r := run(c.args...)
			if r.Code != c.code {
				t.Errorf("%s %s: exit code %d, want %d\n%s%s", cli, strings.Join(c.args, " "), r.Code, c.code, r.Stdout, r.Stderr)
			}
			for _, w := range c.words {
				if !strings.Contains(r.Stderr, w) {
					t.Errorf("%s %s: %q is not in %q", cli, strings.Join(c.args, " "), w, r.Stderr)
				}
			}
		}
	}
	if c.method != "" {
		c.request(t, h)
	}
}

func (c badInput) request(t *testing.T, h *testkit.Host) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, "http://strake"+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(c.body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.header[0] != "" {
		req.Header.Set(c.header[0], c.header[1])
	}
	resp, err := h.API().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Message string }
	if err := json.Unmarshal(body, &answer); err != nil {
		answer.Message = string(body) // ancient versions are answered in plain text
	}
	if resp.StatusCode != c.status || !strings.Contains(answer.Message, c.message) {
		t.Errorf("%s %.80s: got %d %.300q, want %d %q", c.method, c.path, resp.StatusCode, answer.Message, c.status, c.message)
	}
}

// everything is all that a refused request could leave behind.
func everything(t *testing.T, h *testkit.Host) string {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{"/containers/json?all=1", "/images/json?all=1", "/networks", "/volumes"} {
		fmt.Fprintf(&b, "%s: %q\n", path, identifiers(t, h, path))
	}
	dirs, err := filepath.Glob(h.Dir + "/state/containers/*")
	if err != nil {
		t.Fatal(err)
	}
	pins, err := filepath.Glob(h.Dir + "/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	leaks := h.Leaks()
	for i, l := range leaks {
		if _, spare, ok := strings.Cut(l, ": strake-shim vacant "); ok { // one for another is as good
			leaks[i] = "spare shim " + spare
		}
	}
	slices.Sort(leaks)
	fmt.Fprintf(&b, "directories: %q\nnamespaces: %q\n%s\n%s\n", dirs, pins, strings.Join(leaks, "\n"), h.FirewallRules())
	return b.String()
}

// identifiers lists the ids, or names, in the answer to a GET.
func identifiers(t *testing.T, h *testkit.Host, path string) []string {
	t.Helper()
	resp, err := h.API().Get("http://strake" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"(Id|Name)":"[^"]*"`).FindAllString(string(body), -1)
	slices.Sort(found)
	return found
}

// occupy listens on a port of the host.
func occupy(t *testing.T, h *testkit.Host, port string) {
	t.Helper()
	cmd := h.Command("busybox", "nc", "-l", "-p", port)
	if err := h.Namespace().Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Wait() // always "signal: killed"
	})
	h.Eventually(5*time.Second, "the port is taken", func() bool {
		out := h.Run(h.Command("busybox", "netstat", "-ltn"))
		return strings.Contains(out.Stdout, ":"+port+" ")
	})
}

// lockedRegistry starts a registry that wants user ali and password sesame.
func lockedRegistry(t *testing.T, h *testkit.Host) string {
	t.Helper()
	const addr = "127.0.0.1:5001"
	users, config := filepath.Join(h.Dir, "htpasswd"), filepath.Join(h.Dir, "locked.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nauth: {htpasswd: {realm: test, path: %q}}\n", filepath.Join(h.Dir, "locked"), addr, users)
	for path, body := range map[string]string{users: "ali:" + sesame + "\n", config: text} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := h.Command("docker-registry", "serve", config)
	if err := h.Namespace().Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Wait() // always "signal: killed"
	})
	client := h.HTTP()
	h.Eventually(10*time.Second, "the locked registry answers", func() bool {
		resp, err := client.Get("http://" + addr + "/v2/")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusUnauthorized
	})
	return addr
}
