package api

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	apistorage "github.com/moby/moby/api/types/storage"
	apisystem "github.com/moby/moby/api/types/system"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strakehq/strake/core/api/containers"
)

func TestContainersByVersion(t *testing.T) {
	d := newDaemon(t)
	d.containers.list = func(o containers.ListOptions) ([]container.Summary, error) {
		if !o.All || o.Limit != 2 || !o.Filters.Has("name") {
			t.Errorf("options are %+v", o)
		}
		s := container.Summary{ID: "c1", ImageManifestDescriptor: &ocispec.Descriptor{}, Health: &container.HealthSummary{}}
		s.HostConfig.Annotations = map[string]string{"a": "b"}
		return []container.Summary{s}, nil
	}
	for version, want := range map[string][3]bool{"1.45": {}, "1.46": {true}, "1.48": {true, true}, "1.52": {true, true, true}} {
		var got []container.Summary
		d.get("/v"+version+`/containers/json?all=1&limit=2&filters={"name":{"x":true}}`, &got)
		if has := [3]bool{got[0].HostConfig.Annotations != nil, got[0].ImageManifestDescriptor != nil, got[0].Health != nil}; has != want {
			t.Errorf("%s: annotations, descriptor, health: %v, want %v", version, has, want)
		}
	}
	d.containers.list = func(containers.ListOptions) ([]container.Summary, error) { return nil, nil }
	if _, body := d.do("GET", "/containers/json", ""); body != "[]" {
		t.Errorf("no containers are %s", body)
	}
}

func TestInspectByVersion(t *testing.T) {
	d := newDaemon(t)
	addr := netip.MustParseAddr("172.30.0.2")
	d.containers.inspect = func(ref string) (container.InspectResponse, error) {
		if ref != "/web" && ref != "web" {
			t.Errorf("ref is %q", ref)
		}
		return container.InspectResponse{
			ID: "0123456789abcdef", Config: &container.Config{Hostname: "host"},
			Storage: &apistorage.Storage{RootFS: &apistorage.RootFSStorage{Snapshot: &apistorage.RootFSStorageSnapshot{Name: "overlay"}}},
			NetworkSettings: &container.NetworkSettings{SandboxKey: "k", Networks: map[string]*network.EndpointSettings{
				"bridge": {IPAddress: addr}, "back": {Aliases: []string{"web"}},
			}},
		}, nil
	}
	type old struct {
		GraphDriver     *struct{ Name string }
		NetworkSettings struct {
			SandboxKey, IPAddress string
			Networks              map[string]struct{ Aliases []string }
		}
	}
	var now, then old
	d.get("/v1.52/containers//web/json", &now)
	if now.GraphDriver != nil || now.NetworkSettings.IPAddress != "" || len(now.NetworkSettings.Networks["back"].Aliases) != 1 {
		t.Errorf("1.52: %+v", now)
	}
	d.get("/v1.41/containers/web/json", &then)
	if then.GraphDriver == nil || then.GraphDriver.Name != "overlay" || then.NetworkSettings.IPAddress != addr.String() || then.NetworkSettings.SandboxKey != "k" {
		t.Errorf("1.41: %+v", then)
	}
	if a := then.NetworkSettings.Networks["back"].Aliases; len(a) != 3 || a[0] != "0123456789ab" || a[1] != "host" {
		t.Errorf("1.41: aliases are %v", a)
	}
}

func TestImagesByVersion(t *testing.T) {
	d := newDaemon(t)
	d.images.list = []image.Summary{{ID: "i1", Size: 5, Containers: 1, Descriptor: &ocispec.Descriptor{}}}
	for version, want := range map[string]string{
		"1.42": `[{"Containers":-1,"Created":0,"Id":"i1","Labels":null,"ParentId":"","RepoDigests":["<none>@<none>"],"RepoTags":["<none>:<none>"],"SharedSize":0,"Size":5,"VirtualSize":5}]`,
		"1.44": `[{"Containers":-1,"Created":0,"Id":"i1","Labels":null,"ParentId":"","RepoDigests":[],"RepoTags":[],"SharedSize":0,"Size":5}]`,
		"1.51": `[{"Containers":1,"Created":0,"Id":"i1","Labels":null,"ParentId":"","Descriptor":{"mediaType":"","digest":"","size":0},"RepoDigests":[],"RepoTags":[],"SharedSize":0,"Size":5}]`,
	} {
		if _, body := d.do("GET", "/v"+version+"/images/json", ""); body != want {
			t.Errorf("%s: got %s, want %s", version, body, want)
		}
	}
}

func TestDiskUsageByVersion(t *testing.T) {
	d := newDaemon(t)
	d.system.usage = apisystem.DiskUsage{
		ImageUsage:     &image.DiskUsage{TotalCount: 1, TotalSize: 5, Items: []image.Summary{{ID: "i1", Size: 5}}},
		ContainerUsage: &container.DiskUsage{TotalCount: 1, Items: []container.Summary{{ID: "c1"}}},
	}
	type answer struct {
		ImageUsage, ContainerUsage *struct{ Items []struct{} }
		LayersSize                 int64
		Images                     []struct{ VirtualSize int64 }
		Containers                 []struct{}
	}
	for _, c := range []struct {
		path     string
		sections bool
		items    int
		old      int
		virtual  int64
	}{
		{"/v1.41/system/df?type=container", false, 0, 1, 5},
		{"/v1.51/system/df", false, 0, 1, 0},
		{"/v1.52/system/df", true, 0, 1, 0},
		{"/v1.52/system/df?verbose=1", true, 1, 0, 0},
		{"/v1.52/system/df?verbose=1&type=image", true, 1, 0, 0},
	} {
		var got answer
		d.get(c.path, &got)
		if (got.ImageUsage != nil) != c.sections || len(got.Images) != c.old || c.sections && len(got.ImageUsage.Items) != c.items {
			t.Errorf("%s: got %+v", c.path, got)
		}
		if c.old > 0 && (got.LayersSize != 5 || got.Images[0].VirtualSize != c.virtual) {
			t.Errorf("%s: got %+v", c.path, got)
		}
	}
	var got answer
	if d.get("/v1.52/system/df?verbose=1&type=image", &got); got.ContainerUsage != nil {
		t.Error("containers were not asked for")
	}
}
