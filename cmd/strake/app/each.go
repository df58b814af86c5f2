package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/client"
)

// Each does something to each thing that args name and prints the name of each
// that succeeded. It goes on after a failure; the error joins all.
func (a *App) Each(ctx context.Context, args []string, do func(ctx context.Context, c *client.Client, id string) error) error {
	return a.EachQuiet(ctx, args, func(ctx context.Context, c *client.Client, id string) error {
		if err := do(ctx, c, id); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.Out, id)
		return err
	})
}

// EachQuiet is Each without printing names.
func (a *App) EachQuiet(ctx context.Context, args []string, do func(ctx context.Context, c *client.Client, id string) error) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range args {
		errs = append(errs, do(ctx, c, id))
	}
	return errors.Join(errs...)
}

// Confirm asks whether to go on, unless forced.
func (a *App) Confirm(force bool, what string) error {
	if force {
		return nil
	}
	fmt.Fprintf(a.Out, "WARNING! %s\nAre you sure you want to continue? [y/N] ", what) //nolint:errcheck // the answer decides
	s := bufio.NewScanner(a.In)
	if s.Scan() {
		switch strings.ToLower(strings.TrimSpace(s.Text())) {
		case "y", "yes":
			return nil
		}
	}
	return errors.New("cancelled")
}

// Pruned prints what a prune removed.
func (a *App) Pruned(what string, names []string, bytes uint64) error {
	var b strings.Builder
	if len(names) > 0 {
		fmt.Fprintf(&b, "Deleted %s:\n%s\n\n", what, strings.Join(names, "\n"))
	}
	fmt.Fprintf(&b, "Total reclaimed space: %s\n", units.HumanSize(float64(bytes)))
	_, err := fmt.Fprint(a.Out, b.String())
	return err
}
