// Package image has the verbs on images, one file each.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/progress"
)

// PullOptions say what to pull and where to show progress.
type PullOptions struct {
	Ref      string
	Platform string
	AllTags  bool
	Quiet    bool
	Out      io.Writer
}

// Pull pulls an image and shows progress as it comes.
func Pull(ctx context.Context, a *app.App, o PullOptions) (err error) {
	c, err := a.Client()
	if err != nil {
		return err
	}
	req := client.ImagePullOptions{All: o.AllTags}
	if o.Platform != "" {
		p, err := platforms.Parse(o.Platform)
		if err != nil {
			return fmt.Errorf("--platform: %w", err)
		}
		req.Platforms = []ocispec.Platform{p}
	}
	if req.RegistryAuth, err = a.RegistryAuth(o.Ref); err != nil {
		return err
	}
	res, err := c.ImagePull(ctx, o.Ref, req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	out := o.Out
	if o.Quiet {
		out = io.Discard
	}
	return progress.Show(out, res.JSONMessages(ctx))
}

// NewPull is the command pull.
func NewPull(a *app.App) *cobra.Command {
	o := PullOptions{Out: a.Out}
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, err := reference.ParseNormalizedNamed(args[0])
			if err != nil {
				return fmt.Errorf("%q: %w", args[0], err)
			}
			o.Ref = args[0]
			switch tagged := !reference.IsNameOnly(named); {
			case o.AllTags && tagged:
				return errors.New("tag can't be used with --all-tags/-a")
			case !o.AllTags && !tagged && !o.Quiet:
				if _, err := fmt.Fprintln(a.Out, "Using default tag: latest"); err != nil {
					return err
				}
			}
			if err := Pull(cmd.Context(), a, o); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, reference.TagNameOnly(named).String())
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.AllTags, "all-tags", "a", false, "Download all tagged images in the repository")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "Suppress verbose output")
	f.StringVar(&o.Platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	return cmd
}
