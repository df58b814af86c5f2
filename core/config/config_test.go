package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Every fault of a file is found, and each says where and what is allowed.
func TestErrorsMatchGolden(t *testing.T) {
	for _, name := range []string{"all-wrong", "bad-values", "syntax"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name+".toml"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name+".toml", data)
			if err == nil {
				err = c.Validate()
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Fatalf("class of %v is not invalid argument", err)
			}
			golden(t, name+".golden", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestFullFileIsReadAndWrittenUnchanged(t *testing.T) {
	c, err := Load("testdata/full.toml", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := c.Storage.InstanceName(); got != "foo" {
		t.Errorf("storage instance is %q, want foo", got)
	}
	if time.Duration(c.ShutdownTimeout) != 90*time.Second || c.Containers.LogMaxSize != 100<<20 {
		t.Errorf("values misread: %+v", c)
	}
	if c.Runtime.Driver != "runc" || c.Runtime.Options["binary"] != "/usr/bin/runc" || c.Runtimes["crun"].Options["binary"] != "crun" {
		t.Errorf("runtimes misread: %+v %+v", c.Runtime, c.Runtimes)
	}
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestDefaultsApplyWithoutAFile(t *testing.T) {
	c, err := Load(filepath.Join(t.TempDir(), "none.toml"), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Storage.Driver != "overlay" || c.Registry.Driver != "http" || c.APIHosts()[0] != "unix:///run/strake/strake.sock" {
		t.Errorf("defaults are %+v", c)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml"), false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file asked for by name is absent: got %v", err)
	}
}

func TestFaultNamesTheFlagThatOverrode(t *testing.T) {
	c, err := Load("testdata/full.toml", false)
	if err != nil {
		t.Fatal(err)
	}
	c.LogLevel = "loud"
	c.Override("log_level", "flag --log-level")
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "flag --log-level: log_level: ") {
		t.Errorf("got %v", err)
	}
}

func TestTCPNeedsMutualTLS(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(pem, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		tls    TLS
		unsafe bool
		ok     bool
	}{
		{"nothing", TLS{}, false, false},
		{"server certificate only", TLS{Cert: pem, Key: pem}, false, false},
		{"mutual", TLS{CA: pem, Cert: pem, Key: pem}, false, true},
		{"unsafe by name", TLS{}, true, true},
		{"key missing", TLS{CA: pem, Cert: pem}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Default()
			c.Hosts, c.TLS, c.AllowUnauthenticatedTCP = []string{"tcp://127.0.0.1:2376"}, tc.tls, tc.unsafe
			if err := c.Validate(); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzParse looks for input that panics, or that is accepted and not
// understood again once written.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"full", "all-wrong", "bad-values", "syntax"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".toml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz", data)
		if err != nil {
			return
		}
		if c.Validate() != nil {
			return
		}
		text, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("again", text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// The manual's examples are valid, and its list of all keys is whole and shows
// the defaults.
func TestManualIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```toml\n")[1:]
	for i, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		c, err := Parse("docs/configuration.md", []byte(b))
		if err != nil {
			t.Fatalf("example %d: %v", i+1, err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
		if i > 0 {
			continue
		}
		if diff := cmp.Diff(Default(), c, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("defaults in the manual (-code +manual):\n%s", diff)
		}
		for _, key := range keys(reflect.TypeFor[Config](), "") {
			if _, ok := c.origin.pos[key]; !ok && !strings.HasPrefix(key, "runtimes") && !strings.HasPrefix(key, "networks") {
				t.Errorf("the manual lacks %s", key)
			}
		}
	}
}

// keys lists the dotted keys of a struct; of drivers' tables only the name.
func keys(t reflect.Type, prefix string) (all []string) {
	for f := range t.Fields() {
		name := f.Tag.Get("toml")
		if name == "" {
			continue
		}
		key := join(prefix, name)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Driver]() {
			all = append(all, keys(f.Type, key)...)
			continue
		}
		all = append(all, key)
	}
	return all
}
