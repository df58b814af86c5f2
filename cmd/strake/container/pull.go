package container

import (
	"context"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/image"
)

// pullImage pulls on behalf of run and create; progress goes to the error
// stream, since the standard output is the container's.
func (c *createFlags) pullImage(ctx context.Context, a *app.App, ref string) error {
	return image.Pull(ctx, a, image.PullOptions{Ref: ref, Platform: c.platform, Quiet: c.quiet, Out: a.Err})
}
