package httperr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestStatusOfEveryClass(t *testing.T) {
	for _, c := range []struct {
		class error
		want  int
	}{
		{errdefs.ErrInvalidArgument, 400},
		{errdefs.ErrOutOfRange, 400},
		{errdefs.ErrUnauthenticated, 401},
		{errdefs.ErrPermissionDenied, 403},
		{errdefs.ErrNotFound, 404},
		{errdefs.ErrConflict, 409},
		{errdefs.ErrAlreadyExists, 409},
		{errdefs.ErrFailedPrecondition, 409},
		{errdefs.ErrAborted, 409},
		{errdefs.ErrNotModified, 304},
		{errdefs.ErrResourceExhausted, 429},
		{errdefs.ErrNotImplemented, 501},
		{errdefs.ErrUnavailable, 503},
		{errdefs.ErrInternal, 500},
		{errdefs.ErrDataLoss, 500},
		{errdefs.ErrUnknown, 500},
		{context.DeadlineExceeded, 504},
		{context.Canceled, 503},
		{&http.MaxBytesError{Limit: 1}, 413},
		{errors.New("anything else"), 500},
	} {
		t.Run(c.class.Error(), func(t *testing.T) {
			for form, err := range map[string]error{
				"plain":   c.class,
				"wrapped": fmt.Errorf("container abc: start: %w", c.class),
				"twice":   fmt.Errorf("container abc: start: %w", fmt.Errorf("mount: %w", c.class)),
				"beside":  fmt.Errorf("mount: %w: %w", errors.New("EPERM"), c.class),
				"joined":  errors.Join(errors.New("first"), c.class),
			} {
				if got := Status(err); got != c.want {
					t.Errorf("%s: got %d, want %d", form, got, c.want)
				}
			}
		})
	}
}

func TestTheOutermostClassCounts(t *testing.T) {
	inner := fmt.Errorf("image nginx: resolve: %w", errdefs.ErrNotFound)
	err := fmt.Errorf("pull: %w: %w", errdefs.ErrUnauthenticated, inner)
	if got := Status(err); got != 401 {
		t.Errorf("got %d, want 401", got)
	}
}

func TestMessageLeavesOutTheClassThatTheStatusSays(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("No such container: web: %w", errdefs.ErrNotFound), "No such container: web"},
		{errdefs.ErrNotFound.WithMessage("page not found"), "page not found"},
		{fmt.Errorf("no such volume: x: %w", errdefs.ErrNotFound), "no such volume: x"},
		{fmt.Errorf("network back: %w", errdefs.ErrNotFound), "network back not found"},
		{fmt.Errorf("network back not found: %w", errdefs.ErrNotFound), "network back not found"},
		{fmt.Errorf("invalid filter 'x': %w", errdefs.ErrInvalidArgument), "invalid filter 'x'"},
		{fmt.Errorf("name is in use: %w", errdefs.ErrConflict), "name is in use"},
		{fmt.Errorf("open /x: %w", errdefs.ErrPermissionDenied), "open /x: permission denied"},
		{fmt.Errorf("open /x: permission denied: %w", errdefs.ErrPermissionDenied), "open /x: permission denied"},
		{fmt.Errorf("mount /x: permission denied: %w", errdefs.ErrInternal), "mount /x: permission denied"},
		{errors.New("plain: not found"), "plain: not found"},
		{errdefs.ErrConflict, "conflict"},
	} {
		if got := Message(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{
		{fmt.Errorf("No such image: <none>: %w", errdefs.ErrNotFound), 404, `{"message":"No such image: <none>"}`},
		{errdefs.ErrNotModified, 304, ``},
	} {
		w := httptest.NewRecorder()
		if err := Write(w, c.err); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.body {
			t.Errorf("%v: got %d %s, want %d %s", c.err, w.Code, got, c.status, c.body)
		}
	}
}
