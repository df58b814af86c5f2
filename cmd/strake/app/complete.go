package app

import (
	"context"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// completer is what cobra asks for the words that may come next.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// CompleteContainers offers the names of containers, running ones only unless
// all.
func (a *App) CompleteContainers(all bool) completer {
	return a.complete(func(ctx context.Context, c *client.Client) (names []string, err error) {
		res, err := c.ContainerList(ctx, client.ContainerListOptions{All: all})
		for _, s := range res.Items {
			for _, n := range s.Names {
				names = append(names, strings.TrimPrefix(n, "/"))
			}
		}
		return names, err
	})
}

// CompleteImages offers the tags of local images.
func (a *App) CompleteImages() completer {
	return a.complete(func(ctx context.Context, c *client.Client) (names []string, err error) {
		res, err := c.ImageList(ctx, client.ImageListOptions{})
		for _, i := range res.Items {
			names = append(names, i.RepoTags...)
		}
		return names, err
	})
}

// CompleteVolumes offers the names of volumes.
func (a *App) CompleteVolumes() completer {
	return a.complete(func(ctx context.Context, c *client.Client) (names []string, err error) {
		res, err := c.VolumeList(ctx, client.VolumeListOptions{})
		for _, v := range res.Items {
			names = append(names, v.Name)
		}
		return names, err
	})
}

// CompleteNetworks offers the names of networks.
func (a *App) CompleteNetworks() completer {
	return a.complete(func(ctx context.Context, c *client.Client) (names []string, err error) {
		res, err := c.NetworkList(ctx, client.NetworkListOptions{})
		for _, n := range res.Items {
			names = append(names, n.Name)
		}
		return names, err
	})
}

// complete asks the daemon, but not for longer than one waits at a prompt. A
// daemon that does not answer offers nothing.
func (a *App) complete(list func(context.Context, *client.Client) ([]string, error)) completer {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		c, err := a.Client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := list(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var fit []string
		for _, n := range all {
			if strings.HasPrefix(n, toComplete) {
				fit = append(fit, n)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}
