// Package stdio wires the standard streams of one process: FIFOs or a pty on
// the process's side, a log and any number of attached clients on the other.
//
// A process never waits for a client that vanished, and waits for one that is
// slow. It never fails for want of a reader, since it holds its FIFOs open for
// reading too.
package stdio
