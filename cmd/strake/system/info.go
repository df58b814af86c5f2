package system

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewInfo is the command info.
func NewInfo(a *app.App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Display system-wide information",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.Info(cmd.Context(), client.InfoOptions{})
			if err != nil {
				return err
			}
			if format != "" {
				return byTemplate(a.Out, format, res.Info)
			}
			for _, w := range res.Info.Warnings {
				if _, err := fmt.Fprintln(a.Err, w); err != nil {
					return err
				}
			}
			return printInfo(a.Out, res.Info)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

func printInfo(w io.Writer, i system.Info) error {
	var b strings.Builder
	row := func(key string, value any) { fmt.Fprintf(&b, "%s: %v\n", key, value) }
	row("Containers", i.Containers)
	row(" Running", i.ContainersRunning)
	row(" Paused", i.ContainersPaused)
	row(" Stopped", i.ContainersStopped)
	row("Images", i.Images)
	row("Server Version", i.ServerVersion)
	row("Storage Driver", i.Driver)
	for _, s := range i.DriverStatus {
		row(" "+s[0], s[1])
	}
	row("Logging Driver", i.LoggingDriver)
	row("Cgroup Driver", i.CgroupDriver)
	row("Cgroup Version", i.CgroupVersion)
	row("Plugins", "")
	row(" Volume", strings.Join(i.Plugins.Volume, " "))
	row(" Network", strings.Join(i.Plugins.Network, " "))
	row(" Log", strings.Join(i.Plugins.Log, " "))
	row("Runtimes", strings.Join(slices.Sorted(maps.Keys(i.Runtimes)), " "))
	row("Default Runtime", i.DefaultRuntime)
	row("Security Options", "")
	for _, o := range i.SecurityOptions {
		fmt.Fprintf(&b, "  %s\n", o)
	}
	row("Kernel Version", i.KernelVersion)
	row("Operating System", i.OperatingSystem)
	row("OSType", i.OSType)
	row("Architecture", i.Architecture)
	row("CPUs", i.NCPU)
	row("Total Memory", units.BytesSize(float64(i.MemTotal)))
	row("Name", i.Name)
	row("ID", i.ID)
	row("Root Dir", i.DockerRootDir)
	if r := i.RegistryConfig; r != nil && len(r.Mirrors) > 0 {
		row("Registry Mirrors", "")
		for _, m := range r.Mirrors {
			fmt.Fprintf(&b, "  %s\n", m)
		}
	}
	row("Live Restore Enabled", i.LiveRestoreEnabled)
	_, err := io.WriteString(w, b.String())
	return err
}
