// Package rpcerr carries errors over gRPC with their errdefs class and their
// message unchanged. The class travels as the reason of a google.rpc.ErrorInfo,
// since the status codes alone cannot tell all classes apart (both Conflict and
// NotModified would be FailedPrecondition).
package rpcerr

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the ErrorInfo domain of Strake's classes.
const Domain = "strake"

// class is one row of the table between errdefs, the wire's reason and the
// status code shown to those who do not know the reason.
type class struct {
	err    error
	reason string
	code   codes.Code
}

// classes lists every class. When a status has no reason, the first row with
// its code counts.
func classes() []class {
	return []class{
		{errdefs.ErrUnknown, "UNKNOWN", codes.Unknown},
		{errdefs.ErrInvalidArgument, "INVALID_ARGUMENT", codes.InvalidArgument},
		{errdefs.ErrNotFound, "NOT_FOUND", codes.NotFound},
		{errdefs.ErrAlreadyExists, "ALREADY_EXISTS", codes.AlreadyExists},
		{errdefs.ErrPermissionDenied, "PERMISSION_DENIED", codes.PermissionDenied},
		{errdefs.ErrResourceExhausted, "RESOURCE_EXHAUSTED", codes.ResourceExhausted},
		{errdefs.ErrFailedPrecondition, "FAILED_PRECONDITION", codes.FailedPrecondition},
		{errdefs.ErrConflict, "CONFLICT", codes.FailedPrecondition},
		{errdefs.ErrNotModified, "NOT_MODIFIED", codes.FailedPrecondition},
		{errdefs.ErrAborted, "ABORTED", codes.Aborted},
		{errdefs.ErrOutOfRange, "OUT_OF_RANGE", codes.OutOfRange},
		{errdefs.ErrNotImplemented, "NOT_IMPLEMENTED", codes.Unimplemented},
		{errdefs.ErrInternal, "INTERNAL", codes.Internal},
		{errdefs.ErrUnavailable, "UNAVAILABLE", codes.Unavailable},
		{errdefs.ErrDataLoss, "DATA_LOSS", codes.DataLoss},
		{errdefs.ErrUnauthenticated, "UNAUTHENTICATED", codes.Unauthenticated},
		{context.Canceled, "CANCELED", codes.Canceled},
		{context.DeadlineExceeded, "DEADLINE_EXCEEDED", codes.DeadlineExceeded},
	}
}

// remote is an error from the other side: its message, and its class.
type remote struct {
	msg   string
	class error
}

func (e *remote) Error() string { return e.msg }
func (e *remote) Unwrap() error { return e.class }

// Encode returns err as a gRPC status error. A nil error stays nil.
func Encode(err error) error {
	if err == nil {
		return nil
	}
	want := errdefs.Resolve(err)
	for _, c := range classes() {
		if c.err == want { //nolint:errorlint // Resolve returns the class itself
			return encode(c, err.Error())
		}
	}
	return encode(classes()[0], err.Error())
}

func encode(c class, msg string) error {
	// protobuf refuses strings that are not UTF-8, and file names may be.
	s := status.New(c.code, strings.ToValidUTF8(msg, "\uFFFD"))
	if d, err := s.WithDetails(&errdetails.ErrorInfo{Reason: c.reason, Domain: Domain}); err == nil {
		s = d
	}
	return s.Err()
}

// Decode returns the error that Encode was given, as far as it survives: the
// message and the class. For a status that did not come from Encode, such as
// gRPC's own, the class is that of the code and the message is prefixed with
// what, the name of the driver and call. ctx is the call's.
func Decode(ctx context.Context, err error, what string) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return &remote{s.Message(), byReason(info.GetReason())}
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	// A call that is begun while the dead driver's connection is being closed
	// ends as Canceled, though nobody cancelled it.
	if s.Code() == codes.Unavailable || s.Code() == codes.Canceled {
		return fmt.Errorf("%s: %w: %s", what, ErrLost, s.Message())
	}
	// The driver's side may end an overdue call an instant before this one, in
	// words that do not speak of time.
	if s.Code() == codes.DeadlineExceeded {
		return fmt.Errorf("%s: %w", what, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s: %w", what, &remote{s.Message(), byCode(s.Code())})
}

func byReason(reason string) error {
	for _, c := range classes() {
		if c.reason == reason {
			return c.err
		}
	}
	return errdefs.ErrUnknown
}

func byCode(code codes.Code) error {
	for _, c := range classes() {
		if c.code == code {
			return c.err
		}
	}
	return errdefs.ErrUnknown
}

// ErrLost is the error, of class ErrUnavailable, of a call whose connection
// broke, mostly because the driver's process ended. A driver's own
// ErrUnavailable is not ErrLost.
var ErrLost = fmt.Errorf("connection to the driver lost: %w", errdefs.ErrUnavailable)

var _ error = (*remote)(nil)
