package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/strakehq/strake/sdk/internal/pb/driverpb"
	"github.com/strakehq/strake/sdk/internal/pb/storagepb"
	"github.com/strakehq/strake/sdk/plugin"
	"github.com/strakehq/strake/sdk/storage"
)

// foreign is a driver as somebody writes it in another language, from the
// protos and docs/drivers/writing-a-driver.md alone.
type foreign struct {
	driverpb.UnimplementedDriverServiceServer
	storagepb.UnimplementedStorageServiceServer
}

func (foreign) GetInfo(context.Context, *driverpb.GetInfoRequest) (*driverpb.GetInfoResponse, error) {
	return &driverpb.GetInfoResponse{Kind: "storage", Name: "foreign", Version: "1", Capabilities: []string{"storage.diff"}}, nil
}

func (foreign) Shutdown(context.Context, *driverpb.ShutdownRequest) (*driverpb.ShutdownResponse, error) {
	return &driverpb.ShutdownResponse{}, nil
}

func (foreign) Stat(context.Context, *storagepb.StatRequest) (*storagepb.StatResponse, error) {
	return nil, status.Error(codes.NotFound, "no such snapshot")
}

func (foreign) Diff(_ context.Context, r *storagepb.DiffRequest) (*storagepb.DiffResponse, error) {
	c, err := net.Dial("unix", r.GetStream())
	if err != nil {
		return nil, err
	}
	_, err = c.Write([]byte{0, 0, 0, 3, 't', 'a', 'r', 0, 0, 0, 0})
	c.Close()
	return &storagepb.DiffResponse{}, err
}

// foreignMain serves it with nothing of the SDK or of go-plugin.
func foreignMain() {
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	h.SetServingStatus("plugin", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, h)
	driverpb.RegisterDriverServiceServer(s, foreign{})
	storagepb.RegisterStorageServiceServer(s, foreign{})
	fmt.Fprintf(os.Stdout, "1|1|unix|%s|grpc|\n", path)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the host
		os.Exit(0)
	}()
	if err := s.Serve(l); err != nil {
		panic(err)
	}
}

func TestADriverInAnotherLanguageWorks(t *testing.T) {
	c := launchConfig(t, "foreign")
	c.Config = nil
	p, err := plugin.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	s, _ := p.Storage()
	if _, err := s.Stat(t.Context(), "k"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if _, err := s.List(t.Context()); !errdefs.IsNotImplemented(err) {
		t.Error(err)
	}
	var b writes
	if err := s.(storage.Differ).Diff(t.Context(), "k", &b); err != nil || string(b) != "tar" {
		t.Error(string(b), err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

type writes []byte

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
