package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/scaffold"
)

// create writes the skeleton of a driver.
func create(args []string, out, errOut io.Writer) error {
	f := newFlags("strake-conformance new", errOut)
	var c scaffold.Config
	kind := f.String("kind", "storage", "the contract, a `kind`: storage, runtime, network or registry")
	f.StringVar(&c.Module, "module", "", "the Go module's `path` (default: example.com/ and the binary's name)")
	f.StringVar(&c.Replace, "replace", "", "use Strake's source in a `directory` instead of its published module")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 {
		return errors.New("new: give the driver's name and a directory; --help shows how")
	}
	c.Kind, c.Name = driver.Kind(*kind), f.Arg(0)
	dir := f.Arg(1)
	if err := scaffold.Write(dir, c); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s is a %s driver that compiles and does nothing yet. Next:\n\n"+
		"  cd %s\n  go mod tidy\n  go test ./...    # the kit tells what is missing\n", dir, c.Kind, dir)
	return err
}
