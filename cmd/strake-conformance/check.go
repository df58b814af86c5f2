package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/sdk/conformance"
	"github.com/strakehq/strake/sdk/driver"
)

// checkFlags are the flags of a run.
type checkFlags struct {
	kind, options, libexec, pattern string
	list, kill, verbose             bool
	timeout                         time.Duration
	env                             conformance.Env
}

func parseCheck(args []string, errOut io.Writer) (checkFlags, string, error) {
	var c checkFlags
	f := newFlags("strake-conformance", errOut)
	f.StringVar(&c.kind, "kind", "", "demand a `kind`: storage, runtime, network or registry")
	f.StringVar(&c.options, "options", "{}", "the driver's options, a `JSON` object")
	f.StringVar(&c.libexec, "libexec", "", "`directory` of helpers such as strake-shim (default: that of this program)")
	f.StringVar(&c.pattern, "run", "", "run only the cases whose names match a `regexp`")
	f.BoolVar(&c.list, "list", false, "list the cases instead of running them")
	f.BoolVar(&c.kill, "kill", false, "kill the driver between calls")
	f.BoolVar(&c.verbose, "v", false, "show the driver's log")
	f.DurationVar(&c.timeout, "timeout", 2*time.Minute, "the time of one case")
	f.StringVar(&c.env.Registry.Registry, "registry", "", "`host:port` of a registry to use (default: one of the kit's own)")
	if err := f.Parse(args); err != nil {
		return c, "", err
	}
	if f.NArg() != 1 {
		return c, "", errors.New("name one driver's binary; --help shows how")
	}
	if !json.Valid([]byte(c.options)) {
		return c, "", fmt.Errorf("--options: %q is not JSON", c.options)
	}
	if c.libexec == "" {
		self, err := os.Executable()
		if err != nil {
			return c, "", fmt.Errorf("--libexec: %w", err)
		}
		c.libexec = filepath.Dir(self)
	}
	path, err := filepath.Abs(f.Arg(0))
	return c, path, err
}

func check(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	c, path, err := parseCheck(args, errOut)
	if err != nil {
		return err
	}
	match, err := regexp.Compile(c.pattern)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	dir, err := os.MkdirTemp("", "sc-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := c.binary(path, dir, errOut)
	if err != nil {
		return err
	}
	info, err := conformance.Ask(ctx, b)
	if err != nil {
		return err
	}
	if c.kind != "" && c.kind != string(info.Kind) {
		return fmt.Errorf("%s is the %s driver %q, not a %s driver", path, info.Kind, info.Name, c.kind)
	}
	if info.Kind == driver.Network && !c.list && !isolated() {
		return isolate(ctx, args, out, errOut)
	}
	if isolated() {
		if err := enter(); err != nil {
			return err
		}
	}
	c.env.Network.Flush = flush
	cases, end, err := conformance.Suite(ctx, b, info.Kind, c.env)
	if err != nil {
		return err
	}
	defer end()
	return c.report(ctx, info, cases, match, out)
}

func (c checkFlags) binary(path, dir string, errOut io.Writer) (conformance.BinaryConfig, error) {
	b := conformance.BinaryConfig{
		Path: path, Kills: c.kill, LogPath: filepath.Join(dir, "log"),
		Config: driver.Config{
			Options: json.RawMessage(c.options), Libexec: c.libexec,
			StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"),
		},
	}
	if c.verbose {
		b.LogPath = ""
		b.Logger = hclog.New(&hclog.LoggerOptions{Output: errOut, Level: hclog.Debug})
	}
	return b, errors.Join(os.Mkdir(b.Config.StateDir, 0o700), os.Mkdir(b.Config.RunDir, 0o700))
}

// report runs the cases, or lists them, one line each.
func (c checkFlags) report(ctx context.Context, info driver.Info, cases []conformance.Case, match *regexp.Regexp, out io.Writer) error {
	p := printer{out: out}
	p.line("%s driver %s %s", info.Kind, info.Name, info.Version)
	for _, k := range cases {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !match.MatchString(k.Name):
		case c.list:
			p.line("%s", k.Name)
		default:
			p.result(conformance.Run(ctx, k, c.timeout))
		}
	}
	if !c.list {
		p.line("%d passed, %d failed, %d skipped", p.passed, p.failed, p.skipped)
	}
	if p.failed > 0 {
		return errors.Join(errFailed, p.err)
	}
	return p.err
}
