package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"

	"github.com/strakehq/strake/core/api/images"
	"github.com/strakehq/strake/core/filter"
)

func TestRemoveFollowsDocker(t *testing.T) {
	h := newHarness(t)
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one")))
	fresh := func() string {
		t.Helper()
		h.users = nil
		h.pulled("app:1")
		r, err := h.find(h.ref("app:1"))
		if err != nil {
			t.Fatal(err)
		}
		return r.ID.Encoded()
	}
	remove := func(ref string, force bool) (untagged, deleted int, err error) {
		var list []image.DeleteResponse
		list, err = h.Remove(t.Context(), ref, images.RemoveOptions{Force: force})
		for _, l := range list {
			if l.Untagged != "" {
				untagged++
			}
			if l.Deleted != "" {
				deleted++
			}
		}
		return untagged, deleted, err
	}
	t.Run("the last tag takes the image, its digest and its layer", func(t *testing.T) {
		fresh()
		if u, d, err := remove(h.ref("app:1"), false); u != 2 || d != 2 || err != nil {
			t.Errorf("%d untagged, %d deleted, error %v", u, d, err)
		}
		if _, err := h.find(h.ref("app:1")); !errdefs.IsNotFound(err) || !strings.HasPrefix(err.Error(), "No such image: "+h.ref("app:1")) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("one of two tags only goes itself", func(t *testing.T) {
		id := fresh()
		if err := h.Tag(t.Context(), id, "other", "x"); err != nil {
			t.Fatal(err)
		}
		if u, d, err := remove("other:x", false); u != 1 || d != 0 || err != nil {
			t.Errorf("%d untagged, %d deleted, error %v", u, d, err)
		}
	})
	t.Run("an id with tags of two repositories must be forced", func(t *testing.T) {
		id := fresh()
		if err := h.Tag(t.Context(), id, "other", "x"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := remove(id[:12], false); !errdefs.IsConflict(err) ||
			!strings.Contains(err.Error(), "(must be forced) - image is referenced in multiple repositories") {
			t.Errorf("error is %v", err)
		}
		if u, d, err := remove(id[:12], true); u != 3 || d != 2 || err != nil {
			t.Errorf("forced: %d untagged, %d deleted, error %v", u, d, err)
		}
	})
	t.Run("a stopped container's image must be forced", func(t *testing.T) {
		id := fresh()
		h.users = []User{{ContainerID: strings.Repeat("c", 64)}}
		if _, _, err := remove(h.ref("app:1"), false); !errdefs.IsConflict(err) ||
			!strings.Contains(err.Error(), "(must force) - container cccccccccccc is using its referenced image "+id[:12]) {
			t.Errorf("error is %v", err)
		}
		if _, d, err := remove(h.ref("app:1"), true); d != 2 || err != nil {
			t.Errorf("forced: %d deleted, error %v", d, err)
		}
	})
	t.Run("a running container's image cannot be forced by id, only untagged", func(t *testing.T) {
		id := fresh()
		h.users = []User{{ContainerID: strings.Repeat("c", 64), Running: true}}
		if _, _, err := remove(id, true); !errdefs.IsConflict(err) ||
			!strings.Contains(err.Error(), "(cannot be forced) - image is being used by running container cccccccccccc") {
			t.Errorf("error is %v", err)
		}
		if u, d, err := remove(h.ref("app:1"), true); u != 2 || d != 0 || err != nil {
			t.Errorf("%d untagged, %d deleted, error %v", u, d, err)
		}
		if _, err := h.find(id); err != nil {
			t.Errorf("the image is gone: %v", err)
		}
	})
}

func TestPruneTakesWhatNothingNeeds(t *testing.T) {
	h := newHarness(t)
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one"), layerOf(t, "b", "two")))
	h.pulled("app:1")
	h.upload("app:1", imageOf(t, layerOf(t, "a", "one"), layerOf(t, "b", "three")))
	h.pulled("app:1")
	if list, err := h.List(t.Context(), images.ListOptions{Filters: filter.Args{"dangling": {"true"}}}); err != nil || len(list) != 1 {
		t.Fatalf("dangling: %v, error %v", list, err)
	}
	rep, err := h.Prune(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if rep.SpaceReclaimed == 0 || !slices.ContainsFunc(rep.ImagesDeleted, func(d image.DeleteResponse) bool { return d.Deleted != "" }) {
		t.Errorf("report is %+v", rep)
	}
	got, err := h.collector.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One layer is shared: only the other one's snapshot and blob go, with
	// manifest and configuration.
	if len(got.Snapshots) != 1 || len(got.Blobs) != 3 {
		t.Errorf("collected %v and %v", got.Snapshots, got.Blobs)
	}
	if f := h.files(h.ref("app:1")); f["b"] != "three" || f["a"] != "one" {
		t.Errorf("files are %v", f)
	}
}
