// Package version names the versions of the Docker Engine API that the server
// speaks.
package version

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// The range of versions served. A request without a version gets Newest.
const (
	Newest = "1.56"
	Oldest = "1.24"
)

// Version is a version of the API.
type Version struct{ Major, Minor int }

// Parse reads "1.41". ErrInvalidArgument unless it is two decimal numbers.
func Parse(s string) (Version, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(minor, 10, 16)
	if !ok || errA != nil || errB != nil {
		return Version{}, fmt.Errorf("invalid API version %q: want a version from %s to %s: %w", s, Oldest, Newest, errdefs.ErrInvalidArgument)
	}
	return Version{int(a), int(b)}, nil
}

// Before says whether v is older than major.minor.
func (v Version) Before(major, minor int) bool {
	return v.Major < major || v.Major == major && v.Minor < minor
}

// String is the form that Parse reads.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Check reads a request's version, empty for the newest, and refuses with
// Docker's words, which clients show as they are, what is out of range.
func Check(s string) (Version, error) {
	newest, oldest := Version{1, 56}, Version{1, 24}
	if s == "" {
		return newest, nil
	}
	v, err := Parse(s)
	switch {
	case err != nil:
		return Version{}, err
	case v.Before(oldest.Major, oldest.Minor):
		return v, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", s, Oldest))
	case newest.Before(v.Major, v.Minor):
		return v, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("client version %s is too new. Maximum supported API version is %s", s, Newest))
	}
	return v, nil
}

type key struct{}

// Into returns a context that carries a request's version.
func Into(ctx context.Context, v Version) context.Context {
	return context.WithValue(ctx, key{}, v)
}

// From returns the version that a request asked for.
func From(ctx context.Context) Version {
	v, _ := ctx.Value(key{}).(Version)
	return v
}
