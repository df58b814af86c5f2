package monitor

import (
	"errors"

	"github.com/strakehq/strake/cmd/strake-shim/internal/oci"
	"github.com/strakehq/strake/sdk/shim/wire"
)

func internal(err error) error { return &wire.Error{Class: wire.Internal, Message: err.Error()} }

func precondition(message string) error {
	return &wire.Error{Class: wire.Precondition, Message: message}
}

// asRuntime marks the runtime's own words as such.
func asRuntime(err error) error {
	if e, ok := errors.AsType[*oci.Error](err); ok {
		return &wire.Error{Class: wire.RuntimeFailed, Message: e.Text}
	}
	return internal(err)
}

// WireError makes an error fit for the wire.
func WireError(err error) *wire.Error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return &wire.Error{Class: e.Class, Message: err.Error()}
	}
	return &wire.Error{Class: wire.Internal, Message: err.Error()}
}
