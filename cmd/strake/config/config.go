// Package config has the verb on the daemon's configuration file.
package config

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/core/config"
)

// New is the command config. It talks to no daemon.
func New(a *app.App) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "config [OPTIONS] [FILE]",
		Short: "Check the daemon's configuration file and print it with defaults filled in",
		Long: "Check the daemon's configuration file and print it with defaults filled in. Without FILE the file is " + config.DefaultPath +
			", which need not exist. What only a driver knows, such as its own options, is checked by straked --validate.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := config.DefaultPath
			if len(args) == 1 {
				path = args[0]
			}
			c, err := config.Load(path, len(args) == 0)
			if err != nil {
				return err
			}
			if err := c.Validate(); err != nil {
				return err
			}
			if quiet {
				return nil
			}
			text, err := c.Marshal()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s", text)
			return err
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only check, print nothing when the file is right")
	return cmd
}
