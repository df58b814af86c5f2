package clock

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/strakehq/strake/test/testkit"
)

// What is being read, and what a pull that was cut short has left, is not garbage
// because the clock says that it is old.
func TestNothingIsGarbageBecauseTheClockWasSet(t *testing.T) {
	t.Parallel()
	w := start(t)
	h := w.h
	h.MustDocker("pull", "-q", "busybox")
	archive := h.Run(h.Command(testkit.DockerCLI(), "save", "busybox")).Stdout
	h.MustDocker("tag", "busybox", "other")

	// An archive of which the half has come.
	in, out := io.Pipe()
	loaded := make(chan string, 1)
	go func() {
		resp, err := h.API().Post("http://strake/images/load", "application/x-tar", in)
		if err != nil {
			loaded <- err.Error()
			return
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			loaded <- b.String()
			return
		}
		loaded <- ""
	}()
	half := len(archive) / 2
	if _, err := io.WriteString(out, archive[:half]); err != nil {
		t.Fatal(err)
	}
	// A pull whose client goes leaves what one leaves that dies with the daemon.
	w.slow.rate.Store(4 << 20)
	pull := w.beside("pull", "-q", "nginx")
	const enough = 4 << 20
	before := w.slow.bytes.Load()
	h.Eventually(10*time.Second, "the pull is under way", func() bool { return w.slow.bytes.Load() > before+enough })
	if err := pull.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-pull.done
	h.Eventually(10*time.Second, "the pull is given up", func() bool {
		got := w.slow.bytes.Load()
		time.Sleep(300 * time.Millisecond)
		return w.slow.bytes.Load() == got
	})
	cut := w.slow.bytes.Load() - before

	w.c.Set(time.Now().AddDate(0, 0, 3))
	h.MustDocker("rmi", "other", "busybox") // has garbage collected
	time.Sleep(time.Second)

	if _, err := io.WriteString(out, archive[half:]); err != nil {
		t.Error(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if why := <-loaded; why != "" {
		t.Errorf("the archive that was being read: %s", why)
	}
	if r := h.Docker("run", "--rm", "--pull", "never", "busybox", "echo", "whole"); r.Out() != "whole" {
		t.Errorf("its image: %+v", r)
	}
	w.slow.rate.Store(0)
	before = w.slow.bytes.Load()
	h.MustDocker("pull", "-q", "nginx")
	rest, whole := w.slow.bytes.Load()-before, layers(t, h, "library/nginx")
	// What was on its way when the client went is fetched again.
	t.Logf("fetched %d bytes before the jump, %d after it, of %d", cut, rest, whole)
	if rest > whole-enough/2 {
		t.Errorf("of %d bytes, %d were fetched again after %d", whole, rest, cut)
	}
}

// layers is the size of an image's layers in the registry.
func layers(t *testing.T, h *testkit.Host, repository string) (bytes int64) {
	t.Helper()
	ref, err := name.ParseReference(h.Registry+"/"+repository+":latest", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, remote.WithTransport(h.HTTP().Transport))
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range m.Layers {
		bytes += l.Size
	}
	return bytes
}
