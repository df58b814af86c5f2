package hosts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func newSet(t *testing.T, c Config) *Set {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func urls(t *testing.T, s *Set, host string) []string {
	t.Helper()
	eps, err := s.Endpoints(host)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range eps {
		u := e.Base.String()
		if e.Probe {
			u += " or http"
		}
		out = append(out, u)
	}
	return out
}

func TestEndpointsOfAHost(t *testing.T) {
	s := newSet(t, Config{
		Mirrors: map[string][]string{
			"docker.io":   {"http://127.0.0.1:5000", "mirror.example", "https://cache.example/hub/"},
			"ghcr.io":     {"127.0.0.1:5001"},
			"example.com": {"https://cache.example/v2"},
		},
		Insecure: []string{"10.0.0.0/8", "plain.example", "port.example:81"},
	})
	for host, want := range map[string]string{
		"docker.io":       "http://127.0.0.1:5000/v2, https://mirror.example/v2, https://cache.example/hub/v2, https://registry-1.docker.io/v2",
		"index.docker.io": "https://registry-1.docker.io/v2",
		"ghcr.io":         "https://127.0.0.1:5001/v2 or http, https://ghcr.io/v2",
		"example.com":     "https://cache.example/v2, https://example.com/v2",
		"localhost:5000":  "https://localhost:5000/v2 or http",
		"127.1.2.3":       "https://127.1.2.3/v2 or http",
		"[::1]:5000":      "https://[::1]:5000/v2 or http",
		"10.1.2.3:5000":   "https://10.1.2.3:5000/v2 or http",
		"11.1.2.3:5000":   "https://11.1.2.3:5000/v2",
		"plain.example:9": "https://plain.example:9/v2 or http",
		"port.example:81": "https://port.example:81/v2 or http",
		"port.example":    "https://port.example/v2",
	} {
		if got := strings.Join(urls(t, s, host), ", "); got != want {
			t.Errorf("%s: endpoints are\n %s, want\n %s", host, got, want)
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, c := range []Config{
		{Insecure: []string{"http://x"}},
		{Insecure: []string{""}},
		{Mirrors: map[string][]string{"docker.io": {"ftp://x"}}},
		{Mirrors: map[string][]string{"docker.io": {"https://user:pass@x"}}},
		{Mirrors: map[string][]string{"docker.io": {""}}},
	} {
		if _, err := New(c); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: error is %v", c, err)
		}
	}
}

const hostsToml = `
server = "https://upstream.example"
capabilities = ["pull", "resolve"]

[host."https://z-first.example:5000"]
  capabilities = ["pull"]
  skip_verify = true
  dial_timeout = "3s"
  [host."https://z-first.example:5000".header]
    x-one = "1"
    x-two = ["a", "b"]

[host."http://a-second.example/api/registry"]
  override_path = true

[host."plain.example"]
`

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedAddressKeepsItsPassword(t *testing.T) {
	for _, address := range []string{
		"https://robot:hunter2@mirror.example",
		"robot:hunter2@mirror.example:5000",
		"https://robot:hun/ter2@mirror.example",
		"https://robot:%zzhunter2@mirror.example",
		"https://hunter2@mirror.example",
		"https://mirror.example?token=hunter2",
		"https://mirror.example/#hunter2",
	} {
		for name, c := range map[string]Config{
			"mirror": {Mirrors: map[string][]string{"docker.io": {address}}}, "insecure": {Insecure: []string{address}},
		} {
			_, err := New(c)
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%s %s: error %v, want invalid argument", name, address, err)
				continue
			}
			if msg := err.Error(); strings.Contains(msg, "ter2") || !strings.Contains(msg, "mirror.example") {
				t.Errorf("%s %s: error %q, want the host and no secret", name, address, msg)
			}
		}
	}
}

func TestHostsTomlIsReadAsContainerdDoes(t *testing.T) {
	dir := t.TempDir()
	s := newSet(t, Config{HostsDirs: []string{dir}})
	if got := urls(t, s, "reg.example:5000"); len(got) != 1 {
		t.Errorf("without a file: %q", got)
	}
	write(t, filepath.Join(dir, "reg.example_5000_", "hosts.toml"), hostsToml)
	want := "https://z-first.example:5000/v2, http://a-second.example/api/registry, https://plain.example/v2, https://upstream.example/v2"
	if got := strings.Join(urls(t, s, "reg.example:5000"), ", "); got != want {
		t.Fatalf("endpoints are\n %s, want\n %s", got, want)
	}
	eps, err := s.Endpoints("reg.example:5000")
	if err != nil {
		t.Fatal(err)
	}
	z := eps[0]
	if !z.Has(Pull) || z.Has(Resolve) || z.Has(Push) || !z.TLS.InsecureSkipVerify || z.DialTimeout != 3*time.Second ||
		z.Header.Get("X-One") != "1" || len(z.Header.Values("X-Two")) != 2 || !z.Mirror || z.Namespace != "reg.example:5000" {
		t.Errorf("first host is %+v", z)
	}
	if !eps[1].Has(Push) || eps[3].Has(Push) || eps[1].TLS.InsecureSkipVerify {
		t.Errorf("capabilities or TLS of the others are wrong")
	}
}

func TestDefaultDirectoryServesHostsWithoutOne(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "_default", "hosts.toml"), "[host.\"https://all.example\"]\n")
	write(t, filepath.Join(dir, "own.example", "hosts.toml"), "")
	s := newSet(t, Config{HostsDirs: []string{dir}})
	if got := strings.Join(urls(t, s, "docker.io"), " "); got != "https://all.example/v2 https://registry-1.docker.io/v2" {
		t.Errorf("docker.io: %s", got)
	}
	if got := strings.Join(urls(t, s, "own.example"), " "); got != "https://own.example/v2" {
		t.Errorf("own.example: %s", got)
	}
}

func TestMalformedHostsTomlNamesFileAndFault(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.example", "hosts.toml")
	for text, words := range map[string]string{
		"server = 1":         "hosts.toml",
		"[host.\"ftp://x\"]": "ftp://x",
		"[host.\"https://x\"]\ncapabilities=[\"fly\"]": "fly",
		"[host.\"https://x\"]\ndial_timeout=\"soon\"":  "dial_timeout",
		"[host.\"https://x\"]\nca=\"gone.pem\"":        "gone.pem",
		"[host.\"https://x\"]\nclient=[[1]]":           "client",
		"[host.\"https://x\"]\nheader={a=1}":           "header",
	} {
		write(t, file, text)
		s := newSet(t, Config{HostsDirs: []string{dir}})
		if _, err := s.Endpoints("x.example"); err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "x.example") {
			t.Errorf("%q: error is %v, want %q in it", text, err, words)
		}
	}
}

func TestRefusedAddressInHostsTomlKeepsItsPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.example", "hosts.toml")
	for _, text := range []string{
		"server = \"https://robot:hunter2@mirror.example\"",
		"[host.\"https://robot:hunter2@mirror.example\"]",
	} {
		write(t, file, text)
		s := newSet(t, Config{HostsDirs: []string{dir}})
		_, err := s.Endpoints("x.example")
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "mirror.example") {
			t.Errorf("%q: error is %v, want the host and no password", text, err)
		}
	}
}

func FuzzHostsToml(f *testing.F) {
	f.Add([]byte(hostsToml))
	f.Add([]byte("server = \"https://x\"\nca = [\"a\", \"b\"]\nclient = [[\"c\", \"k\"], [\"d\"]]\n"))
	f.Add([]byte("[host]\n[host.\"https://a\"]\n[host.\"https://a\".header]\nx=[1]\n"))
	f.Add([]byte("host = 1"))
	s, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseHostsFile(data)
		if err != nil {
			return
		}
		eps, err := s.fromFile("x.example", file, "/nonexistent")
		if err == nil && len(eps) == 0 {
			t.Error("no endpoint")
		}
		for _, e := range eps {
			if err == nil && (e.Base.Host == "" || e.TLS == nil) {
				t.Errorf("endpoint %+v", e)
			}
		}
	})
}
