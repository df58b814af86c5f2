package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/strakehq/strake/core/config"
)

// load parses arguments as the command does.
func load(t *testing.T, args ...string) (*config.Config, error) {
	t.Helper()
	var o options
	f := pflag.NewFlagSet("straked", pflag.ContinueOnError)
	o.register(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if err := fromEnvironment(f); err != nil {
		return nil, err
	}
	return o.load(f)
}

func TestFlagsGoBeforeVariablesAndVariablesBeforeTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("log_level = \"error\"\nrun_dir = \"/run/from-file\"\nstate_dir = \"/srv/from-file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STRAKED_CONFIG", file)
	t.Setenv("STRAKED_LOG_LEVEL", "warn")
	t.Setenv("STRAKED_RUN_DIR", "/run/from-env")
	c, err := load(t, "--log-level", "debug", "-H", "unix:///run/a.sock", "-H", "unix:///run/b.sock")
	if err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != "debug" || c.RunDir != "/run/from-env" || c.StateDir != "/srv/from-file" || len(c.Hosts) != 2 {
		t.Errorf("got %+v", c)
	}
}

func TestFaultsNameTheFlag(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--log-level", "loud"}, "flag --log-level: log_level:"},
		{[]string{"--host", "tcp://0.0.0.0:2375"}, "flag --host: hosts:"},
		{[]string{"--state-dir", "here"}, "flag --state-dir: state_dir:"},
		{[]string{"--tlsverify", "-H", "tcp://0.0.0.0:2376"}, "--tlscert"},
		{[]string{"--config", "/nonexistent.toml"}, "/nonexistent.toml"},
	} {
		if _, err := load(t, tc.args...); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: got %v, want %q", tc.args, err, tc.says)
		}
	}
}

func TestPidFileOfALivingDaemonIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "straked.pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil { // lives, and is no straked
		t.Fatal(err)
	}
	if err := writePid(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(b)) == "1" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("got %q, %v", b[:n], err)
	}
}
