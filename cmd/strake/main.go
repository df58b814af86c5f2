// Strake is the command line client: Docker's verbs and flags, spoken to a
// Strake daemon, or to any other that serves the Docker Engine API.
package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/cmd/strake/app"
	_ "github.com/strakehq/strake/cmd/strake/hugepages" // first: its heap is everybody's
	"github.com/strakehq/strake/sdk/sysmon"
)

func main() {
	sysmon.Relax(time.Millisecond)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	a := app.New()
	code := a.Exit(newRoot(a, os.Args[1:]).ExecuteContext(ctx))
	stop()
	os.Exit(code)
}
