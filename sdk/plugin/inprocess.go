package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/internal/rpcerr"
)

// InProcess serves a driver within this process, over the same gRPC server,
// sockets and interceptors as a driver with a process of its own. It is for
// tests. Kill closes the connection.
func InProcess(ctx context.Context, d driver.Driver, socketDir string) (*Client, error) {
	contract, err := contractOf(d)
	if err != nil {
		return nil, err
	}
	dir, err := newSocketDir(socketDir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir.path, "grpc")
	l, err := net.Listen("unix", path) //nolint:noctx // a unix socket, at once
	if err != nil {
		return nil, errors.Join(fmt.Errorf("driver: %w", err), dir.remove())
	}
	server := newServer(hclog.NewNullLogger(), nil)
	contract.register(server)
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_ = server.Serve(l) // ends with Stop
	}()
	link := rpcerr.Link{Name: string(contract.kind) + " driver", Dead: dead}
	cc, err := grpc.NewClient("unix:"+path, dialOptions(link, Timeouts{})...)
	if err != nil {
		server.Stop()
		return nil, errors.Join(fmt.Errorf("driver: %w", err), dir.remove())
	}
	var once sync.Once
	kill := func() {
		once.Do(func() {
			_ = cc.Close() // closes once
			server.Stop()
			<-dead
			_ = dir.remove() // a test's directory
		})
	}
	info, client, err := connect(ctx, cc, dir.path)
	if err != nil {
		kill()
		return nil, err
	}
	return &Client{
		info: info, driver: client, dead: dead, kill: kill, stop: client.Shutdown,
		outcome: func() string { return "stopped" },
	}, nil
}
