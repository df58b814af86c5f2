// Package system has the verbs on the daemon as a whole.
package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/docker/cli/templates"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/sdk/version"
)

type versions struct {
	Client clientVersion
	Server *client.ServerVersionResult `json:",omitempty"`
}

type clientVersion struct {
	Version    string
	APIVersion string `json:"ApiVersion"`
	GoVersion  string
	Os, Arch   string
}

// NewVersion is the command version.
func NewVersion(a *app.App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the Strake version information",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			v := versions{Client: clientVersion{Version: version.Version, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH}}
			server, serverErr := c.ServerVersion(cmd.Context(), client.ServerVersionOptions{})
			if serverErr == nil {
				v.Server = &server
			}
			v.Client.APIVersion = c.ClientVersion()
			if format != "" {
				return errors.Join(byTemplate(a.Out, format, v), serverErr)
			}
			return errors.Join(printVersions(a.Out, v), serverErr)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

func printVersions(out io.Writer, v versions) error {
	w := tabwriter.NewWriter(out, 0, 1, 1, ' ', 0)
	var b strings.Builder
	fmt.Fprintf(&b, "Client:\n Version:\t%s\n API version:\t%s\n Go version:\t%s\n OS/Arch:\t%s/%s\n", v.Client.Version, v.Client.APIVersion, v.Client.GoVersion, v.Client.Os, v.Client.Arch)
	if s := v.Server; s != nil {
		fmt.Fprintf(&b, "\nServer: %s\n", s.Platform.Name)
		for _, c := range s.Components {
			fmt.Fprintf(&b, " %s:\n  Version:\t%s\n", c.Name, c.Version)
			for _, key := range []string{"ApiVersion", "MinAPIVersion", "GoVersion", "Os", "Arch", "KernelVersion"} {
				if d := c.Details[key]; d != "" {
					fmt.Fprintf(&b, "  %s:\t%s\n", key, d)
				}
			}
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return w.Flush()
}

// byTemplate prints one value by a --format value.
func byTemplate(w io.Writer, format string, v any) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(v)
	}
	t, err := templates.Parse(format)
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	if err := t.Execute(w, v); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	_, err = fmt.Fprintln(w)
	return err
}
