package container

import (
	"context"
	"os"
	"os/signal"

	"github.com/moby/moby/client"
	signals "github.com/moby/sys/signal"
	"golang.org/x/sys/unix"
)

// proxySignals sends the signals that this process gets to the container from
// now on. Those about the CLI's own terminal and children stay here, and so does
// SIGURG, with which the Go runtime preempts goroutines.
func proxySignals(ctx context.Context, c *client.Client, id string) {
	got := make(chan os.Signal, 128)
	signal.Notify(got)
	go func() {
		for s := range got {
			name, ok := proxied(s)
			if !ok {
				continue
			}
			// The container may have ended in between; its exit is reported
			// anyway.
			c.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: name}) //nolint:errcheck // as above
		}
	}()
}

func proxied(s os.Signal) (name string, ok bool) {
	switch s {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return "", false
	}
	for name, n := range signals.SignalMap {
		if n == s {
			return name, true
		}
	}
	return "", false
}
