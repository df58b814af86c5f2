// Package httperr turns errors into responses. It has the one table from error
// class to HTTP status; the classes are those of containerd/errdefs.
package httperr

import (
	"errors"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/common"

	"github.com/strakehq/strake/core/api/httpjson"
)

// class pairs a way to recognise errors with their status. text is what the
// class's sentinel adds to a message that wraps it.
type class struct {
	is     func(error) bool
	text   string
	status int
}

// table is in order of precedence. Where Docker's daemon has a class of its
// own the status is Docker's; the others are its observable behaviour: what
// is in use, or in the wrong state, is a conflict.
func table() []class {
	return []class{
		{errdefs.IsNotFound, "not found", http.StatusNotFound},
		{errdefs.IsInvalidArgument, "invalid argument", http.StatusBadRequest},
		{errdefs.IsOutOfRange, "out of range", http.StatusBadRequest},
		{errdefs.IsConflict, "conflict", http.StatusConflict},
		{errdefs.IsAlreadyExists, "already exists", http.StatusConflict},
		{errdefs.IsFailedPrecondition, "failed precondition", http.StatusConflict},
		{errdefs.IsAborted, "aborted", http.StatusConflict},
		{errdefs.IsUnauthorized, "unauthorized", http.StatusUnauthorized},
		{errdefs.IsPermissionDenied, "permission denied", http.StatusForbidden},
		{errdefs.IsNotModified, "not modified", http.StatusNotModified},
		{errdefs.IsResourceExhausted, "resource exhausted", http.StatusTooManyRequests},
		{errdefs.IsNotImplemented, "not implemented", http.StatusNotImplemented},
		{errdefs.IsUnavailable, "unavailable", http.StatusServiceUnavailable},
		{errdefs.IsDeadlineExceeded, "", http.StatusGatewayTimeout},
		{errdefs.IsCanceled, "", http.StatusServiceUnavailable},
		{errdefs.IsInternal, "internal", http.StatusInternalServerError},
		{errdefs.IsDataLoss, "data loss", http.StatusInternalServerError},
		{errdefs.IsUnknown, "unknown", http.StatusInternalServerError},
	}
}

func classify(err error) class {
	// The outermost class counts: a handler may know better than a driver.
	resolved := errdefs.Resolve(err)
	for _, c := range table() {
		if c.is(resolved) {
			return c
		}
	}
	return class{status: http.StatusInternalServerError}
}

// Status returns the HTTP status for an error.
func Status(err error) int {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	return classify(err).status
}

// Message returns what to tell a client, in Docker's words as far as may be.
// Wrapping a class's sentinel appends the class's name, which the status says
// already ("No such container: web: not found"). It is left out where it says
// nothing else, and made a part of the sentence where it says all ("network
// back: not found").
func Message(err error) string {
	msg := err.Error()
	text := classify(err).text
	rest, found := strings.CutSuffix(msg, ": "+text)
	if text == "" || !found {
		return msg
	}
	switch text {
	case "not found":
		if low := strings.ToLower(rest); strings.Contains(low, text) || strings.Contains(low, "no such") {
			return rest
		}
		return rest + " " + text
	case "already exists", "permission denied", "unauthorized", "unavailable", "not implemented":
		if !strings.Contains(rest, text) {
			return msg
		}
	}
	return rest
}

// Write answers a request with an error. An error of its own means that the
// client did not get it.
func Write(w http.ResponseWriter, err error) error {
	status := Status(err)
	if status == http.StatusNotModified {
		w.WriteHeader(status) // has no body
		return nil
	}
	return httpjson.Write(w, status, common.ErrorResponse{Message: Message(err)})
}
