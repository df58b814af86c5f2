package container

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// FuzzImageConfig merges what an image says into a bare request.
func FuzzImageConfig(f *testing.F) {
	for _, s := range []string{
		`{"Env":["PATH=/bin","A=1"],"Cmd":["sh"],"WorkingDir":"/w","User":"www","Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGQUIT"}`,
		`{"Entrypoint":["/x"],"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":-1}}`,
		`{"Cmd":[""],"Volumes":{"../..":{},"":{},"/":{}},"WorkingDir":"w","Env":["="],"StopSignal":"SIGNO"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var image container.Config
		if json.Unmarshal(data, &image) != nil {
			return
		}
		c, err := merge(&container.Config{Image: "x"}, &image)
		if err != nil || validateConfig(c) != nil {
			return
		}
		command(c)
		m := &Manager{}
		points, err := m.mountPoints(c, &container.HostConfig{})
		if err != nil {
			return
		}
		for _, p := range points {
			if !path.IsAbs(p.Destination) || p.Destination == "/" || path.Clean(p.Destination) != p.Destination {
				t.Errorf("the image gets a volume at %q", p.Destination)
			}
		}
	})
}

// FuzzHostConfig goes through the checks of a create request that need no
// machine.
func FuzzHostConfig(f *testing.F) {
	for _, s := range []string{
		`{"Binds":["/a:/b:ro"],"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1,"Options":[["exec"]]}}],"Tmpfs":{"/x":"size=1m"},"RestartPolicy":{"Name":"always"},"CapAdd":["ALL"],"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}]}`,
		`{"PortBindings":{"80/tcp":[{"HostPort":"1-9"}]},"ExtraHosts":["a:1.2.3.4"],"PidMode":"container:x","IpcMode":"shareable","NetworkMode":"host"}`,
		`{"Mounts":[{"Type":"bind","Source":"../x","Target":"y"}],"Binds":["::"],"Tmpfs":{"":"","..":"\u0000"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h container.HostConfig
		if json.Unmarshal(data, &h) != nil {
			return
		}
		for _, check := range []func(*container.HostConfig) error{validateUnsupported, validateModes, validateHosts, validatePorts, validateUlimits} {
			if check(&h) != nil {
				return
			}
		}
		points, err := (&Manager{}).mountPoints(&container.Config{}, &h)
		if err != nil {
			return
		}
		for _, p := range points {
			if !path.IsAbs(p.Destination) || path.Clean(p.Destination) == "/" {
				t.Errorf("mount at %q", p.Destination)
			}
		}
	})
}

func FuzzParsePs(f *testing.F) {
	f.Add("UID PID CMD\nroot 7 sh -c x\nroot - -\n", 7)
	f.Add("PID\n\n7\n", 7)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, table string, pid int) {
		out, err := parsePs(table, []int{pid})
		if err != nil {
			return
		}
		for _, p := range out.Processes {
			if len(p) > max(len(out.Titles), 1) || strings.Contains(strings.Join(p, ""), "\n") {
				t.Errorf("row %q below %q", p, out.Titles)
			}
		}
	})
}
