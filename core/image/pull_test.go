package image

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/images"
)

func TestPullSpeaksAsDockerDoes(t *testing.T) {
	h := newHarness(t)
	d := h.upload("team/app:1", imageOf(t, layerOf(t, "a", "one", "b", "two"), layerOf(t, "b", "three")))
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("team/app"), Tag: "1"}, h.send); err != nil {
		t.Fatal(err)
	}
	said := h.said()
	if said[0] != "1: Pulling from team/app" {
		t.Errorf("first message is %q", said[0])
	}
	contains(t, said, "Pulling fs layer", "Download complete", "Pull complete", "Digest: "+d.String(),
		"Status: Downloaded newer image for "+h.ref("team/app:1"))
	want := map[string]string{"a": "one", "b": "three"}
	if got := h.files(h.ref("team/app:1")); !maps.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
	if err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("team/app:1")}, h.send); err != nil {
		t.Fatal(err)
	}
	said = h.said()
	if want := []string{"1: Pulling from team/app", "Digest: " + d.String(), "Status: Image is up to date for " + h.ref("team/app:1")}; !slices.Equal(said, want) {
		t.Errorf("second pull says %q, want %q", said, want)
	}
	if !slices.Equal(h.events, []string{"pull " + h.ref("team/app:1"), "pull " + h.ref("team/app:1")}) {
		t.Errorf("events are %q", h.events)
	}
}

func TestUnknownImageIsNotFoundBeforeAnyMessage(t *testing.T) {
	h := newHarness(t)
	err := h.Pull(t.Context(), images.PullOptions{Image: h.ref("no/such")}, h.send)
	if !errdefs.IsNotFound(err) || !strings.HasPrefix(err.Error(), "manifest for "+h.ref("no/such:latest")+" not found: ") {
		t.Errorf("error is %v", err)
	}
	if said := h.said(); len(said) != 0 {
		t.Errorf("was said: %q", said)
	}
}
