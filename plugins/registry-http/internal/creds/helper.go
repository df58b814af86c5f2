package creds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/strakehq/strake/sdk/registry"
)

// tokenUser is the user name with which helpers mark an identity token.
const tokenUser = "<token>"

// program is one run of docker-credential-<name>, with a deadline and without
// the daemon's standard error, which docker-credential-helpers would hand out.
type program struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
}

func (p *program) Input(in io.Reader) { p.cmd.Stdin = in }

func (p *program) Output() ([]byte, error) {
	defer p.cancel()
	var out, diag bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &out, &diag
	p.cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	err := p.cmd.Run()
	return out.Bytes(), err
}

func (s *Store) ask(ctx context.Context, helper, server string) (registry.Credentials, error) {
	var none registry.Credentials
	if strings.ContainsAny(helper, "/\\ \x00") {
		return none, fmt.Errorf("credential helper %q: a bare name is wanted, as in \"pass\" for docker-credential-pass: %w", helper, errdefs.ErrInvalidArgument)
	}
	key := helper + " " + server
	s.mu.Lock()
	a, ok := s.helped[key]
	s.mu.Unlock()
	if ok && time.Now().Before(a.until) {
		return a.creds, nil
	}
	c, err := s.run(ctx, helper, server)
	if err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.helped == nil {
		s.helped = map[string]answer{}
	}
	s.helped[key] = answer{creds: c, until: time.Now().Add(s.HelperLife)}
	return c, nil
}

func (s *Store) run(ctx context.Context, helper, server string) (registry.Credentials, error) {
	var none registry.Credentials
	name := "docker-credential-" + helper
	ctx, cancel := context.WithTimeout(ctx, s.HelperTimeout)
	defer cancel()
	got, err := client.Get(func(args ...string) client.Program {
		return &program{cmd: exec.CommandContext(ctx, name, args...), cancel: cancel} //nolint:gosec // the administrator's config.json names it
	}, server)
	switch {
	case err == nil:
	case credentials.IsErrCredentialsNotFound(err):
		return none, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return none, fmt.Errorf("credential helper %s: no answer within %s: %w", name, s.HelperTimeout, errdefs.ErrUnavailable)
	case strings.Contains(err.Error(), exec.ErrNotFound.Error()):
		return none, fmt.Errorf("credential helper %s: not found in PATH of the daemon, install it: %w", name, errdefs.ErrFailedPrecondition)
	default:
		// The library quotes what the helper printed, which may be a secret.
		return none, fmt.Errorf("credential helper %s: failed: %w", name, errdefs.ErrFailedPrecondition)
	}
	if got.Username == tokenUser {
		return registry.Credentials{IdentityToken: registry.Secret(got.Secret)}, nil
	}
	return registry.Credentials{Username: got.Username, Password: registry.Secret(got.Secret)}, nil
}
