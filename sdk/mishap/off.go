//go:build !faults

package mishap

// Hit says that the process has come to a point.
func Hit(Point) {}

// Call says that a call, by gRPC's name of the method, is about to be made, or
// that its answer has come.
func Call(string, When) {}

// Serve says that a call has arrived, or that its answer is about to be given.
func Serve(string, When) {}

// Env is what a process hands down to those that it starts.
func Env() []string { return nil }

// Trail notes the tables that a transaction changes.
type Trail struct{}

// Touch notes a change that is not yet committed.
func (*Trail) Touch(string) {}

// Committed says that the changes are durable.
func (*Trail) Committed() {}
