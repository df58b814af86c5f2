package container

import (
	"errors"
	"fmt"
	"os"

	"github.com/distribution/reference"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
)

// NewCreate is the command create.
func NewCreate(a *app.App) *cobra.Command {
	var c createFlags
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a new container",
		ValidArgsFunction: a.CompleteImages(),
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := c.spec.request(cmd.Flags(), args)
			if err != nil {
				return daemonError(err)
			}
			id, err := c.create(cmd.Context(), a, req)
			if err != nil {
				return daemonError(err)
			}
			_, err = fmt.Fprintln(a.Out, id)
			return err
		},
	}
	c.register(cmd.Flags())
	return cmd
}

// cidFile is the file that --cidfile names; the zero value writes nothing.
type cidFile struct{ path string }

// newCIDFile refuses a file that exists, before anything is made.
func newCIDFile(path string) (cidFile, error) {
	if path == "" {
		return cidFile{}, nil
	}
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return cidFile{}, fmt.Errorf("--cidfile: container ID file found, make sure the other container isn't running or delete %s", path)
	case !errors.Is(err, os.ErrNotExist):
		return cidFile{}, fmt.Errorf("--cidfile: %w", err)
	}
	return cidFile{path}, nil
}

func (c cidFile) write(id string) error {
	if c.path == "" {
		return nil
	}
	if err := os.WriteFile(c.path, []byte(id), 0o644); err != nil {
		return fmt.Errorf("--cidfile: %w", err)
	}
	return nil
}

// familiar is an image reference as Docker shows it: nginx becomes nginx:latest.
func familiar(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}
