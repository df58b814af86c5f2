package image

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/images"
)

func TestPushKeepsTheDigestAndMountsWhatIsThere(t *testing.T) {
	h := newHarness(t)
	d := h.upload("team/app:1", imageOf(t, layerOf(t, "a", "one")))
	h.pulled("team/app:1")
	if err := h.Tag(t.Context(), h.ref("team/app:1"), h.ref("other/copy"), "v2"); err != nil {
		t.Fatal(err)
	}
	if err := h.Push(t.Context(), images.PushOptions{Image: h.ref("other/copy"), Tag: "v2"}, h.send); err != nil {
		t.Fatal(err)
	}
	said := h.said()
	contains(t, said, "The push refers to repository ["+h.ref("other/copy")+"]", "Preparing", "v2: digest: "+d.String()+" size: ")
	if !slices.ContainsFunc(said, func(s string) bool {
		return strings.HasSuffix(s, "Mounted from team/app") || strings.HasSuffix(s, "Layer already exists")
	}) {
		t.Errorf("layer was uploaded: %q", said)
	}
	got, err := h.Inspect(t.Context(), h.ref("other/copy:v2"))
	if err != nil {
		t.Fatal(err)
	}
	if want := h.ref("other/copy@") + d.String(); !slices.Contains(got.RepoDigests, want) {
		t.Errorf("RepoDigests %q lacks %q", got.RepoDigests, want)
	}
}

func TestPushOfWhatIsNotThereNamesIt(t *testing.T) {
	h := newHarness(t)
	err := h.Push(t.Context(), images.PushOptions{Image: h.ref("team/app"), Tag: "1"}, h.send)
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "An image does not exist locally with the tag: "+h.ref("team/app")) {
		t.Errorf("error is %v", err)
	}
}

func TestSavedImagesLoadWithTheirNamesAndDigests(t *testing.T) {
	h := newHarness(t)
	h.upload("team/app:1", imageOf(t, layerOf(t, "a", "one"), layerOf(t, "b", "two")))
	h.pulled("team/app:1")
	before, err := h.Inspect(t.Context(), h.ref("team/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	var archive, again bytes.Buffer
	for _, w := range []io.Writer{&archive, &again} {
		if err := h.Save(t.Context(), []string{h.ref("team/app:1")}, w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("saving twice gives different archives")
	}
	if _, err := h.Remove(t.Context(), h.ref("team/app:1"), images.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.collector.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Load(t.Context(), &archive, nil, h.send); err != nil {
		t.Fatal(err)
	}
	contains(t, h.said(), "Loaded image: "+h.ref("team/app:1"))
	after, err := h.Inspect(t.Context(), h.ref("team/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if before.ID != after.ID || before.Size != after.Size || after.Size == 0 {
		t.Errorf("loaded %s (%d bytes), saved %s (%d bytes)", after.ID, after.Size, before.ID, before.Size)
	}
	if got := h.files(h.ref("team/app:1")); !maps.Equal(got, map[string]string{"a": "one", "b": "two"}) {
		t.Errorf("files are %v", got)
	}
}
