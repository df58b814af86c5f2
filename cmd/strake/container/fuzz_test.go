package container

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

// FuzzFlags gives one flag of strake run a value; what becomes of it must be a
// request or an error.
func FuzzFlags(f *testing.F) {
	flags := []string{
		"publish", "volume", "mount", "tmpfs", "expose", "device", "network", "env", "label", "ulimit", "memory", "add-host",
		"mac-address", "restart", "health-interval", "gpus", "device-cgroup-rule", "sysctl", "storage-opt", "link", "log-opt",
	}
	for i, values := range [][]string{
		{"8080:80", "127.0.0.1::53/udp", "[::1]:80:80", "9000-9010:9000-9010", "published=8080,target=80", "1-65535:1-65535", "a:b:c:d"},
		{"/a:/b:ro", "vol:/c", "/anon", "./x:/y", ":", "::::"},
		{"type=bind,src=/x,dst=/y,readonly", "type=tmpfs,dst=/t,tmpfs-size=1g,tmpfs-mode=1777", "type=volume,volume-opt=a=b", "type", `"`},
		{"/t:size=64m,mode=1777", "", ":"},
		{"7", "7-9/udp", "9-7", "70000"},
		{"/dev/null:/dev/n:rwm", ":::", "rwm"},
		{"net", "name=n,alias=a,ip=10.1.2.3,driver-opt=k=v", "container:x", "="},
		{"A=1", "=", "A"},
		{"k=v", "="},
		{"nofile=1:2", "nofile=9:1", "x"},
		{"64m", "-1", "1e9", "99999999999999999999g"},
		{"h:1.2.3.4", "h=::1", "h:host-gateway", ":"},
	} {
		for _, v := range values {
			f.Add(uint8(i), v) //nolint:gosec // a handful
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		name := flags[int(which)%len(flags)]
		if name == "network" && len(value) > 64 || name == "gpus" {
			return
		}
		var s spec
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		s.register(fs)
		if fs.Set(name, value) != nil {
			return
		}
		req, err := s.request(fs, []string{"image"})
		if err != nil {
			return
		}
		for p := range req.HostConfig.PortBindings {
			if p.Num() == 0 && name == "publish" {
				t.Errorf("%q publishes port 0", value)
			}
		}
	})
}

func TestPortZeroIsNotPublished(t *testing.T) {
	for _, p := range []string{"0", "8080:0", "published=1,target=0"} {
		if req, err := request(t, "-p", p, "image"); err == nil {
			t.Errorf("%s gives %s", p, req)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A=1\n# comment\nB\n\nC=x=y\n", "\xef\xbb\xbfA=1\r\n", "=x\n", "A B=1\n", "\x00\n\xff=\n"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var s spec
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		s.register(fs)
		for _, name := range []string{"env-file", "label-file"} {
			if err := fs.Set(name, path); err != nil {
				t.Fatal(err)
			}
		}
		req, err := s.request(fs, []string{"image"})
		if err != nil {
			return
		}
		for _, e := range req.Config.Env {
			if e == "" || e[0] == '=' {
				t.Errorf("variable %q", e)
			}
		}
	})
}
