package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	a := &app.App{In: strings.NewReader(""), Out: &o, Err: &e}
	code = a.Exit(newRoot(a, args).ExecuteContext(t.Context()))
	return code, o.String(), e.String()
}

func TestEveryCommandHasHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code, out, _ := run(t, args...); code != 0 || !strings.Contains(out, "Usage:") {
			t.Errorf("%s: exit code %d, %q", c.CommandPath(), code, out)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for name, n := range commands() {
		if n(&app.App{}).Name() != name {
			t.Errorf("%s is made as %s", n(&app.App{}).Name(), name)
		}
	}
	walk(newRoot(&app.App{}, nil))
}

// A name that two commands answer to would be now one of them, now the other.
func TestACommandAfterAnOptionIsTheOneOfItsName(t *testing.T) {
	for range 20 {
		root := newRoot(&app.App{}, []string{"--debug", "rm"})
		answers := map[string]string{}
		for _, c := range root.Commands() {
			for _, name := range append(c.Aliases, c.Name()) {
				if other := answers[name]; other != "" {
					t.Fatalf("strake %s is %s and %s", name, other, c.Name())
				}
				answers[name] = c.Name()
			}
		}
		for name := range commands() {
			if cmd, _, err := root.Find([]string{name}); err != nil || cmd.CommandPath() != "strake "+name {
				t.Fatalf("strake --debug %s is %s, %v", name, cmd.CommandPath(), err)
			}
		}
	}
}

func TestNounsHaveDockersVerbs(t *testing.T) {
	for _, path := range []string{"container ls", "container rm", "container inspect", "image ls", "image rm", "image prune", "volume ls", "network ls", "driver ls", "system info"} {
		cmd, rest, err := newRoot(&app.App{}, nil).Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || cmd.Name() != strings.Fields(path)[1] {
			t.Errorf("%s: found %v, %v, %v", path, cmd.CommandPath(), rest, err)
		}
	}
}

func TestWrongUseSaysHowToMendIt(t *testing.T) {
	t.Setenv("STRAKE_HOST", "unix:///nowhere/strake.sock")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"frobnicate", 1, "unknown command: strake frobnicate"},
		{"rnu", 1, "did you mean"},
		{"run --bogus x", 125, "unknown flag: --bogus"},
		{"run -p 1:2:3:4 x", 125, "--publish"},
		{"run", 1, "requires at least 1 arg"},
		{"ps", 1, "Is the daemon running?"},
		{"run x", 125, "Is the daemon running?"},
		{"config /nowhere.toml", 1, "/nowhere.toml"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, _, errs := run(t, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit code %d, want %d; %q, want %q", code, c.code, errs, c.want)
			}
		})
	}
}
