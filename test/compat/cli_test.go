package compat

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

// cli is the docker CLI in front of a daemon.
type cli struct {
	*testkit.Host
	t *testing.T
}

// start gives a test a daemon of its own that has busybox.
func start(t *testing.T) *cli {
	t.Helper()
	c := &cli{testkit.Start(t), t}
	c.ok("pull", "-q", "busybox")
	return c
}

// in is c for a subtest.
func (c *cli) in(t *testing.T) *cli { return &cli{c.Host, t} }

// ok runs a command that must succeed and returns its output.
func (c *cli) ok(args ...string) string {
	c.t.Helper()
	r := c.Docker(args...)
	if r.Code != 0 {
		c.t.Fatalf("docker %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// prints runs a command whose whole output must match a pattern.
func (c *cli) prints(pattern string, args ...string) {
	c.t.Helper()
	c.match(pattern, c.ok(args...), args...)
}

// fails runs a command that must fail with a code and words on its standard
// error that match a pattern.
func (c *cli) fails(code int, pattern string, args ...string) {
	c.t.Helper()
	r := c.Docker(args...)
	if r.Code != code {
		c.t.Errorf("docker %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	c.match(pattern, r.Stderr, args...)
}

func (c *cli) match(pattern, got string, args ...string) {
	c.t.Helper()
	if !regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(got) {
		c.t.Errorf("docker %s printed\n%q\nwhich does not match\n%q", strings.Join(args, " "), got, pattern)
	}
}

// eventually waits until a command's output matches a pattern.
func (c *cli) eventually(pattern string, args ...string) {
	c.t.Helper()
	re := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	var last testkit.Result
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if last = c.Docker(args...); re.MatchString(last.Stdout) {
			return
		}
	}
	c.t.Errorf("docker %s never printed\n%q\nlast was\n%q %q", strings.Join(args, " "), pattern, last.Stdout, last.Stderr)
}

const (
	hash  = `[0-9a-f]{64}`
	id    = hash + `\n`
	short = `[0-9a-f]{12}`
)
