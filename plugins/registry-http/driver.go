package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/registry"
	"github.com/strakehq/strake/sdk/version"
)

// Driver is the registry driver "http". It keeps nothing but connections and
// tokens, so there is nothing to recover after a kill.
type Driver struct {
	driver.Base

	mu   sync.RWMutex
	raw  string       // guarded by mu; options as last configured
	set  *hosts.Set   // guarded by mu
	pool *client.Pool // guarded by mu; nil before Configure
}

var _ registry.Driver = (*Driver)(nil)

// Info implements driver.Driver.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{Kind: driver.Registry, Name: "http", Version: version.Version, OptionsSchema: schema}, nil
}

// Configure implements driver.Driver.
func (d *Driver) Configure(_ context.Context, c driver.Config) error {
	o, err := parseOptions(c.Options)
	if err != nil {
		return err
	}
	set, pool, err := o.pool()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool != nil {
		if d.raw == string(c.Options) {
			return nil
		}
		d.pool.Close()
	}
	d.raw, d.set, d.pool = string(c.Options), set, pool
	return nil
}

// Shutdown implements driver.Driver.
func (d *Driver) Shutdown(context.Context) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.pool != nil {
		d.pool.Close()
	}
	return nil
}

// target is one endpoint, asked about one repository.
type target struct {
	c    *client.Client
	repo registry.Repository
}

// path is below the repository.
func (t target) path(elem ...string) string { return t.repo.Name + "/" + strings.Join(elem, "/") }

// creds are those given with the call. A mirror is another host: it gets only
// what the machine's configuration has for it.
func (t target) creds() registry.Credentials {
	if t.c.Endpoint().Mirror {
		return registry.Credentials{}
	}
	return t.repo.Credentials
}

func (t target) pull() []string { return []string{"repository:" + t.repo.Name + ":pull"} }
func (t target) push() []string { return []string{"repository:" + t.repo.Name + ":pull,push"} }

// targets lists the endpoints of a host that have a capability.
func (d *Driver) targets(r registry.Repository, c hosts.Capability) ([]target, error) {
	d.mu.RLock()
	set, pool := d.set, d.pool
	d.mu.RUnlock()
	if pool == nil {
		return nil, fmt.Errorf("registry driver http: not configured: %w", errdefs.ErrFailedPrecondition)
	}
	eps, err := set.Endpoints(r.Host)
	if err != nil {
		return nil, err
	}
	var out []target
	for _, e := range eps {
		if e.Has(c) {
			out = append(out, target{pool.Client(e), r})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("registry %s: no host in its hosts.toml has the capability needed: %w", r.Host, errdefs.ErrFailedPrecondition)
	}
	return out, nil
}

// try asks the endpoints in turn until one gives an answer.
func try[T any](ctx context.Context, d *Driver, r registry.Repository, c hosts.Capability, what string, f func(target) (T, error)) (T, error) {
	var zero T
	if err := checkName(r); err != nil {
		return zero, err
	}
	ts, err := d.targets(r, c)
	if err != nil {
		return zero, err
	}
	var errs []error
	for _, t := range ts {
		v, err := f(t)
		if err == nil {
			return v, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return zero, fmt.Errorf("%s/%s: %s: %w", r.Host, r.Name, what, pick(errs))
}

// pick chooses the error that decides: the last endpoint's that answered,
// since one that was not reached knows nothing. The others are mentioned.
func pick(errs []error) error {
	i := len(errs) - 1
	for j := i; j >= 0; j-- {
		if client.Answered(errs[j]) {
			i = j
			break
		}
	}
	main := errs[i]
	rest := slices.Delete(errs, i, i+1)
	if len(rest) == 0 {
		return main
	}
	return fmt.Errorf("%w (also tried: %s)", main, strings.ReplaceAll(errors.Join(rest...).Error(), "\n", "; "))
}

// checkName keeps names out of URLs that would change their meaning.
func checkName(r registry.Repository) error {
	if _, err := reference.WithName(r.Name); err != nil {
		return fmt.Errorf("repository %q: %w: %w", r.Name, err, errdefs.ErrInvalidArgument)
	}
	if r.Host == "" || strings.ContainsAny(r.Host, "/?#@\\ ") {
		return fmt.Errorf("registry host %q: %w", r.Host, errdefs.ErrInvalidArgument)
	}
	return nil
}

// checkReference accepts a tag or a digest.
func checkReference(ref string) error {
	if strings.Contains(ref, ":") {
		return checkDigest(digest.Digest(ref))
	}
	named, err := reference.WithName("x")
	if err == nil {
		_, err = reference.WithTag(named, ref)
	}
	if err != nil {
		return fmt.Errorf("tag %q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	return nil
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w: %w", d, err, errdefs.ErrInvalidArgument)
	}
	return nil
}
