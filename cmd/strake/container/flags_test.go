package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/strakehq/strake/cmd/strake/app"
)

var update = flag.Bool("update", false, "rewrite golden files")

func request(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	var s spec
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.SetInterspersed(false)
	s.register(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	req, err := s.request(f, f.Args())
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(req, "", "  ")
}

func TestFlagsBecomeTheCreateRequest(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "seccomp.json")
	if err := os.WriteFile(profile, []byte("{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FROM_ENVIRONMENT", "here")
	for name, line := range map[string]string{
		"plain":     "nginx",
		"process":   "-it -e A=1 -e FROM_ENVIRONMENT -l k=v -u 1:2 -w /w -h host --entrypoint sh --stop-signal TERM --stop-timeout 3 --restart on-failure:2 --init busybox -c id",
		"limits":    "-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 9 --ulimit nofile=1:2 --shm-size 1g --oom-score-adj 5 --cpuset-cpus 0 busybox",
		"files":     "-v /a:/b:ro -v vol:/c -v /anonymous --mount type=bind,src=/x,dst=/y,readonly --tmpfs /t:size=1m --device /dev/null:/dev/n:r --read-only busybox",
		"network":   "-p 8080:80 -p 127.0.0.1:53:53/udp -p 9000-9001:9000-9001 -P --expose 7 --network net --ip 10.1.2.3 --network-alias db --dns 1.1.1.1 --add-host h:1.2.3.4 busybox",
		"isolation": "--cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --security-opt seccomp=" + profile + " --security-opt systempaths=unconfined --privileged --pid host --sysctl net.ipv4.ip_forward=1 busybox",
		"health":    "--health-cmd true --health-interval 1s --health-retries 2 busybox",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := request(t, strings.Fields(line)...)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(bytes.TrimSpace(want)), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for line, want := range map[string]string{
		"-p 99999:80 x":                        "--publish",
		"-p a:b:c:d x":                         "--publish",
		"--network-alias a x":                  "--network-alias",
		"--restart on-failure:x x":             "--restart",
		"--restart always --rm x":              "--rm",
		"--memory-swappiness 101 x":            "--memory-swappiness",
		"--pid bogus x":                        "--pid",
		"--device a:b:c:d x":                   "--device",
		"--security-opt bogus x":               "--security-opt",
		"--mac-address zz x":                   "--mac-address",
		"--ip ::1 --network n x":               "--ip",
		"--no-healthcheck --health-cmd true x": "--no-healthcheck",
		"-m lots x":                            "memory",
		"--attach nowhere x":                   "attach",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := request(t, strings.Fields(line)...)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not name %s", err, want)
			}
		})
	}
}

func TestStartErrorsHaveDockersExitCodes(t *testing.T) {
	for text, want := range map[string]string{
		`exec: "nope": executable file not found in $PATH`:     "127",
		`exec: "/nope": stat /nope: no such file or directory`: "127",
		`exec: "/etc": is a directory`:                         "126",
		`exec: "/x": permission denied`:                        "126",
		"port is already allocated":                            "125",
	} {
		code := startError(errorString(text))
		if got := code.Error(); got != text {
			t.Errorf("text %q became %q", text, got)
		}
		if got := exitCode(code); got != want {
			t.Errorf("%q: exit code %s, want %s", text, got, want)
		}
	}
}

type errorString string

func (e errorString) Error() string { return string(e) }

func exitCode(err error) string {
	var s app.StatusError
	if !errors.As(err, &s) {
		return "none"
	}
	return strconv.Itoa(s.Code)
}
