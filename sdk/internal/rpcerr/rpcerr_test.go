package rpcerr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestEveryClassSurvivesWithItsMessage(t *testing.T) {
	for _, c := range classes() {
		for _, format := range []string{"container web: %w", "%w (stop it first)", "%w", "a: %w: b"} {
			t.Run(c.reason+" as "+format, func(t *testing.T) {
				in := fmt.Errorf(format, c.err)
				wire := Encode(in)
				if got := status.Code(wire); got != c.code {
					t.Errorf("code %v, want %v", got, c.code)
				}
				out := Decode(context.Background(), wire, "driver x: Y")
				if out.Error() != in.Error() {
					t.Errorf("message %q, want %q", out, in)
				}
				if got := errdefs.Resolve(out); !errors.Is(got, c.err) {
					t.Errorf("class %v, want %v", got, c.err)
				}
				if !errors.Is(out, c.err) {
					t.Errorf("%v is not %v", out, c.err)
				}
				for _, other := range classes() {
					if other.reason != c.reason && errors.Is(out, other.err) {
						t.Errorf("is %v, too", other.err)
					}
				}
			})
		}
	}
}

func TestClassesAreDistinctOnTheWire(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range classes() {
		if seen[c.reason] || c.reason != strings.ToUpper(c.reason) {
			t.Errorf("reason %q", c.reason)
		}
		seen[c.reason] = true
	}
}

func TestTheOutermostClassCounts(t *testing.T) {
	for _, c := range []struct {
		in   error
		want error
	}{
		{fmt.Errorf("a: %w: %w", errdefs.ErrInvalidArgument, errdefs.ErrNotFound), errdefs.ErrInvalidArgument},
		{errors.Join(io.ErrUnexpectedEOF, fmt.Errorf("b: %w", errdefs.ErrDataLoss)), errdefs.ErrDataLoss},
		{errors.New("no class"), errdefs.ErrUnknown},
		{errdefs.ErrConflict.WithMessage("custom"), errdefs.ErrConflict},
	} {
		out := Decode(context.Background(), Encode(c.in), "")
		if !errors.Is(errdefs.Resolve(out), c.want) || out.Error() != c.in.Error() {
			t.Errorf("%v came back as %v of class %v", c.in, out, errdefs.Resolve(out))
		}
	}
}

func TestStatusesOfOthersAreClassedByTheirCode(t *testing.T) {
	for code, want := range map[codes.Code]error{
		codes.NotFound:           errdefs.ErrNotFound,
		codes.FailedPrecondition: errdefs.ErrFailedPrecondition,
		codes.Unimplemented:      errdefs.ErrNotImplemented,
		codes.Unavailable:        errdefs.ErrUnavailable,
		codes.Canceled:           errdefs.ErrUnavailable, // gRPC closed the connection, nobody cancelled
		codes.Code(99):           errdefs.ErrUnknown,
	} {
		err := Decode(context.Background(), status.Error(code, "said so"), "driver x: Y")
		if !errors.Is(err, want) || strings.Contains(err.Error(), "rpc error") || !strings.HasPrefix(err.Error(), "driver x: Y: ") {
			t.Errorf("%v: %v", code, err)
		}
		if errors.Is(err, ErrLost) != (code == codes.Unavailable || code == codes.Canceled) {
			t.Errorf("%v: lost? %v", code, err)
		}
	}
	own := Decode(context.Background(), Encode(errdefs.ErrUnavailable), "")
	if errors.Is(own, ErrLost) {
		t.Errorf("a driver's own word is taken for a lost connection")
	}
}

func TestAnEndedContextIsSaidAsSuch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := Decode(ctx, status.Error(codes.Canceled, "x"), "driver x: Y")
	if !errors.Is(err, context.Canceled) || err.Error() != "driver x: Y: context canceled" {
		t.Error(err)
	}
}

func TestADeadlineSeenByTheDriverFirstIsSaidAsSuch(t *testing.T) {
	reset := status.Error(codes.DeadlineExceeded, "stream terminated by RST_STREAM with error code: CANCEL")
	err := Decode(context.Background(), reset, "driver x: Y")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("%v", err)
	}
}

func TestFileNamesThatAreNotUTF8DoNotCostTheClass(t *testing.T) {
	err := Decode(context.Background(), Encode(fmt.Errorf("file \xff\xfe: %w", errdefs.ErrNotFound)), "")
	if !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func TestNilStaysNil(t *testing.T) {
	if Encode(nil) != nil || Decode(context.Background(), nil, "") != nil {
		t.Fail()
	}
}
