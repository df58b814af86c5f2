package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/strakehq/strake/test/testkit/debimage"
)

// registryPort is free in every fresh namespace.
const registryPort = "5000"

// seed makes a registry's storage directory with the test images once for all
// tests of a process; every host gets a copy.
var seed = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(Root(), ".build", "registry-seed")
	return dir, Seed(context.Background(), dir, filepath.Join(Root(), ".build", "debs"))
})

// Seed fills a storage directory of docker-registry with the images of
// debimage, unless that was done before.
func Seed(ctx context.Context, dir, cache string) (err error) {
	return Fill(ctx, dir, func(addr string) error {
		for _, n := range debimage.Names() {
			idx, err := debimage.Build(ctx, n, cache)
			if err != nil {
				return err
			}
			ref, err := name.ParseReference(addr+"/library/"+n+":latest", name.Insecure)
			if err != nil {
				return err
			}
			if err := remote.WriteIndex(ref, idx); err != nil {
				return fmt.Errorf("push %s: %w", ref, err)
			}
		}
		return nil
	})
}

// Fill has push fill a storage directory through a registry at addr, unless that
// was done before. Concurrent calls, by other processes too, wait for each other.
func Fill(ctx context.Context, dir string, push func(addr string) error) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	done := filepath.Join(dir, ".done")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	addr, stop, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := push(addr); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

// serve runs a registry on a free port of the machine's loopback.
func serve(ctx context.Context, dir string) (addr string, stop func() error, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cmd, err := registryCommand(dir, addr, dir+".yml")
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		cmd.Wait() // always "signal: killed"
		return nil
	}
	for range 500 {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return addr, stop, c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", nil, errors.Join(fmt.Errorf("docker-registry does not listen on %s", addr), stop())
}

func (h *Host) startRegistry() {
	h.tb.Helper()
	dir := h.images
	if dir == "" {
		dir = h.copyImages()
	}
	cmd, err := registryCommand(dir, "127.0.0.1:"+registryPort, filepath.Join(h.Dir, "registry.yml"))
	if err != nil {
		h.tb.Fatal(err)
	}
	if err := h.ns.Start(cmd); err != nil {
		h.tb.Fatalf("start docker-registry: %v", err)
	}
	h.registry, h.Registry = cmd, "127.0.0.1:"+registryPort
	h.tb.Cleanup(func() {
		if err := cmd.Process.Kill(); err == nil {
			cmd.Wait() // always "signal: killed"
		}
	})
	client := h.HTTP()
	h.Eventually(10*time.Second, "the registry answers", func() bool {
		resp, err := client.Get("http://" + h.Registry + "/v2/")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

func (h *Host) copyImages() (dir string) {
	h.tb.Helper()
	from, err := seed()
	if err != nil {
		h.tb.Fatalf("make test images: %v", err)
	}
	dir = filepath.Join(h.Dir, "registry")
	if out, err := exec.Command("cp", "-a", from, dir).CombinedOutput(); err != nil {
		h.tb.Fatalf("copy the test images: %v: %s", err, out)
	}
	return dir
}

// StopRegistry ends the registry, as if it were out of reach.
func (h *Host) StopRegistry() {
	h.tb.Helper()
	if err := h.registry.Process.Kill(); err != nil {
		h.tb.Fatal(err)
	}
}

func registryCommand(dir, addr, config string) (*exec.Cmd, error) {
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return exec.Command("docker-registry", "serve", config), nil
}
