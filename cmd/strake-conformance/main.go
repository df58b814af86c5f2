// Command strake-conformance runs the conformance kit against a driver's
// binary, whatever language it is written in, and makes the skeleton of a new
// driver.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `Usage:
  strake-conformance [flags] PATH          run the kit against a driver's binary
  strake-conformance new [flags] NAME DIR  write the skeleton of a driver

PATH must be owned by root and not be writable by others. The kit needs root.
Network drivers are run in a network namespace of their own.

Exit status: 0 all cases pass, 1 some fail, 2 they could not be run.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errFailed says that cases failed; they have been shown.
var errFailed = errors.New("not all cases pass")

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var err error
	if len(args) > 0 && args[0] == "new" {
		err = create(args[1:], out, errOut)
	} else {
		err = check(ctx, args, out, errOut)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFailed):
		return 1
	default:
		printer := printer{out: errOut}
		printer.line("strake-conformance: %v", err)
		return 2
	}
}

// newFlags makes a flag set whose help goes to w.
func newFlags(name string, w io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(w)
	f.Usage = func() {
		if _, err := io.WriteString(w, usage); err == nil {
			f.PrintDefaults()
		}
	}
	return f
}
