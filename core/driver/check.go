package driver

import (
	"context"
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/api/drivers"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/sdk/options"
	"github.com/strakehq/strake/sdk/plugin"
)

// Check launches every driver of a configuration, asks who it is, checks its
// options against its schema, and ends it. It configures none and changes
// nothing. The error holds all that is wrong.
func Check(ctx context.Context, c *config.Config) ([]drivers.Driver, error) {
	h := New(c, hclog.NewNullLogger())
	errs := make(chan error, len(h.instances))
	for _, in := range h.instances {
		go func() { errs <- in.check(ctx) }()
	}
	var wrong []error
	for range h.instances {
		wrong = append(wrong, <-errs)
	}
	all, err := h.Drivers(ctx)
	return all, errors.Join(append(wrong, err)...)
}

func (in *instance) check(ctx context.Context) (err error) {
	c := in.settings()
	path, err := find(in.spec, c, in.host.config.SearchDirs())
	if err != nil {
		return err
	}
	raw, err := in.spec.options(c)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "strake-check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	client, err := plugin.Launch(ctx, plugin.LaunchConfig{
		Path: path, SHA256: c.SHA256, Kind: in.spec.kind, SocketDir: dir, StartTimeout: in.host.timing.launch,
	})
	if err != nil {
		return in.explain(err)
	}
	defer client.Kill()
	in.set(func(s *state) { s.info, s.path = client.Info(), path })
	if err := options.Check(client.Info().OptionsSchema, raw); err != nil {
		return in.explain(err)
	}
	return in.checkName(client.Info())
}
