package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/progress"
	"github.com/strakehq/strake/cmd/strake/terminal"
)

// NewPush is the command push.
func NewPush(a *app.App) *cobra.Command {
	var all, quiet bool
	cmd := &cobra.Command{
		Use:               "push [OPTIONS] NAME[:TAG]",
		Short:             "Upload an image to a registry",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c, err := a.Client()
			if err != nil {
				return err
			}
			auth, err := a.RegistryAuth(args[0])
			if err != nil {
				return err
			}
			res, err := c.ImagePush(cmd.Context(), args[0], client.ImagePushOptions{All: all, RegistryAuth: auth})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, res.Close()) }()
			out := a.Out
			if quiet {
				out = io.Discard
			}
			if err := progress.Show(out, res.JSONMessages(cmd.Context())); err != nil || !quiet {
				return err
			}
			_, err = fmt.Fprintln(a.Out, args[0])
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all-tags", "a", false, "Push all tags of an image to the repository")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	return cmd
}

// NewLoad is the command load.
func NewLoad(a *app.App) *cobra.Command {
	var input string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load an image from a tar archive or STDIN",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			in := a.In
			if input != "" {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				in = f
			} else if terminal.IsTerminal(a.In) {
				return errors.New("requested load from stdin, but stdin is a terminal: use -i FILE or redirect")
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ImageLoad(cmd.Context(), in, client.ImageLoadWithQuiet(quiet))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, res.Close()) }()
			return progress.Show(a.Out, progress.Decode(res))
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output")
	return cmd
}

// NewSave is the command save.
func NewSave(a *app.App) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "save [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Save one or more images to a tar archive (streamed to STDOUT by default)",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if output == "" && terminal.IsTerminal(a.Out) {
				return errNoTerminal
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			res, err := c.ImageSave(cmd.Context(), args)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, res.Close()) }()
			if output == "" {
				_, err = io.Copy(a.Out, res)
				return err
			}
			return saveTo(output, res)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

// saveTo writes the file aside and renames it, so that no half of an archive is
// ever taken for a whole one.
func saveTo(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".strake-save-")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Chmod(0o600), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
