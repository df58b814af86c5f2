package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/sdk/driver"
	"github.com/strakehq/strake/sdk/registry"
)

// configure makes a driver with more options than the quick ones.
func configure(t *testing.T, more string) *Driver {
	t.Helper()
	d := &Driver{}
	opts := "{" + quick + "}"
	if more != "" {
		// Later keys win in JSON.
		opts = "{" + quick + "," + more + "}"
	}
	if err := d.Configure(t.Context(), driver.Config{Options: json.RawMessage(opts)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Shutdown(context.Background()) })
	return d
}

// server is a registry in this process that counts its requests.
type server struct {
	*httptest.Server
	host  string
	count atomic.Int64
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count.Add(1)
		if s.fault == nil || !s.fault(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// holds puts an image manifest, and one blob, into a server.
func (s *server) holds(t *testing.T, repo string) (registry.Manifest, []byte) {
	t.Helper()
	d := configure(t, "")
	r := registry.Repository{Host: s.host, Name: repo}
	blob := []byte(strings.Repeat("blob ", 1000))
	bd := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob)), MediaType: ocispec.MediaTypeImageLayer}
	man, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: bd, Layers: []ocispec.Descriptor{bd}})
	if err != nil {
		t.Fatal(err)
	}
	m := registry.Manifest{Bytes: man, Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(man), Size: int64(len(man))}}
	if err := d.PushBlob(t.Context(), r, bd, strings.NewReader(string(blob))); err != nil {
		t.Fatal(err)
	}
	if err := d.PutManifest(t.Context(), r, "1", m); err != nil {
		t.Fatal(err)
	}
	return m, blob
}

func TestMirrorsComeFirstAndTheRegistryItselfLast(t *testing.T) {
	mirror, upstream := newServer(t), newServer(t)
	m, _ := upstream.holds(t, "app")
	opts := `"mirrors": {"` + upstream.host + `": ["` + mirror.URL + `"]}`
	r := registry.Repository{Host: upstream.host, Name: "app", Credentials: registry.Credentials{Username: "u", Password: "for upstream only"}}
	get := func(what string) {
		t.Helper()
		got, err := configure(t, opts).GetManifest(t.Context(), r, "1")
		if err != nil || got.Descriptor.Digest != m.Descriptor.Digest {
			t.Errorf("%s: got %s, error %v", what, got.Descriptor.Digest, err)
		}
	}
	get("mirror without the image")
	mirror.holds(t, "app")
	n := upstream.count.Load()
	mirror.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if ns := r.URL.Query().Get("ns"); r.URL.Path != "/v2/" && ns != upstream.host {
			t.Errorf("the mirror was told namespace %q", ns)
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("the mirror got credentials that are for another host")
		}
		return false
	}
	get("mirror with the image")
	if upstream.count.Load() != n {
		t.Error("the registry itself was asked although the mirror had the image")
	}
	mirror.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	get("broken mirror")
	mirror.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	get("mirror that wants credentials")
	mirror.Close()
	get("mirror that is down")
}

// What a mirror says counts when the registry behind it cannot be reached.
func TestNotFoundAtTheMirrorOutranksAnUnreachableRegistry(t *testing.T) {
	mirror, upstream := newServer(t), newServer(t)
	upstream.Close()
	d := configure(t, `"mirrors": {"`+upstream.host+`": ["`+mirror.URL+`"]}`)
	_, err := d.GetManifest(t.Context(), registry.Repository{Host: upstream.host, Name: "app"}, "1")
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), mirror.host) || !strings.Contains(err.Error(), "also tried: "+upstream.host) {
		t.Errorf("error is %v", err)
	}
}

func TestABlobGoesOnAtTheNextEndpointWhenAMirrorDies(t *testing.T) {
	mirror, upstream := newServer(t), newServer(t)
	_, blob := upstream.holds(t, "app")
	mirror.holds(t, "app")
	mirror.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(blob[:1234])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	upstream.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			return false
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(blob)))
		return true
	}
	d := configure(t, `"mirrors": {"`+upstream.host+`": ["`+mirror.URL+`"]}`)
	rc, err := d.FetchBlob(t.Context(), registry.Repository{Host: upstream.host, Name: "app"},
		ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(rc)
	if err != nil || string(got) != string(blob) {
		t.Errorf("got %d bytes, error %v", len(got), err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
}

func TestASlowPeerIsGivenUpAndASlowCallerIsNot(t *testing.T) {
	s := newServer(t)
	_, blob := s.holds(t, "app")
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	desc := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	d := configure(t, `"stall_timeout": "100ms", "retries": 1`)
	r := registry.Repository{Host: s.host, Name: "app"}
	rc, err := d.FetchBlob(t.Context(), r, desc, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // longer than the stall timeout
	if got, err := io.ReadAll(rc); err != nil || string(got) != string(blob) {
		t.Errorf("slow caller: got %d bytes, error %v", len(got), err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return true
		}
		return false
	}
	_, err = d.FetchBlob(t.Context(), r, desc, 0)
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "stalled") {
		t.Errorf("slow peer: error is %v", err)
	}
}
