package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/strakehq/strake/sdk/registry"
)

// classed gives an error another class and a text of its own.
type classed struct {
	text  string
	class error
	cause error
}

func (e *classed) Error() string   { return e.text }
func (e *classed) Unwrap() []error { return []error{e.class, e.cause} }

// pullError says in Docker's words what a registry's refusal means, with
// Docker's status: a repository that one may not see does not exist.
func pullError(err error, ref reference.Named, c registry.Credentials) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errdefs.IsNotFound(err):
		return &classed{fmt.Sprintf("manifest for %s not found: %s", reference.FamiliarString(ref), err), errdefs.ErrNotFound, err}
	case errdefs.IsUnauthorized(err) && c != (registry.Credentials{}):
		// A 401 would make docker pull ask for a password, and fail without a
		// terminal; Docker answers 500.
		return &classed{err.Error(), errdefs.ErrUnknown, err}
	case errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err):
		return &classed{fmt.Sprintf("pull access denied for %s, repository does not exist or may require 'docker login': %s",
			reference.FamiliarName(ref), err), errdefs.ErrNotFound, err}
	default:
		return err
	}
}
