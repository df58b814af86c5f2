// Package plugin connects a driver and its host. A driver's main function calls
// Serve; the host calls Launch. It is the only package that imports go-plugin.
//
// # A driver's process
//
// The host starts the binary with a clean environment. Standard error is the
// driver's log, standard input a lifeline: it ends when the host is gone, and
// the driver then exits; the next host kills one that has not. The driver
// answers with go-plugin's handshake line on standard output, and serves gRPC
// on a unix socket in a directory that only the host's user can enter. Both
// ends check the other's user.
//
// Any language will do: see docs/drivers/writing-a-driver.md.
package plugin
