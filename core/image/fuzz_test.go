package image

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func FuzzReference(f *testing.F) {
	for _, s := range [][2]string{
		{"nginx", ""},
		{"nginx", "1.2"},
		{"docker.io/library/nginx:1", ""},
		{"localhost:5000/a/b", "x"},
		{"nginx", "sha256:" + strings.Repeat("a", 64)},
		{"[::1]:5000/x", ""},
		{"UPPER", ""},
		{"a@b", "c"},
		{strings.Repeat("a", 64), ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, repo, tag string) {
		ref, err := parse(repo, tag)
		if err != nil {
			return
		}
		again, err := reference.ParseNormalizedNamed(key(ref))
		if err != nil {
			t.Fatalf("%q is stored as %q, which cannot be read: %v", ref, key(ref), err)
		}
		if key(again) != key(ref) {
			t.Errorf("%q is stored as %q and read as %q", ref, key(ref), key(again))
		}
		if tagOf(reference.TagNameOnly(ref)) == "" {
			t.Errorf("%q has neither tag nor digest", ref)
		}
	})
}

func FuzzManifest(f *testing.F) {
	d := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":3}`
	f.Add(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":`+d+`,"layers":[`+d+`]}`))
	f.Add(dockerManifest, []byte(`{"schemaVersion":2,"mediaType":"`+dockerManifest+`","config":`+strings.Replace(d, ocispec.MediaTypeImageConfig, dockerConfig, 1)+`}`))
	f.Add(ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[`+d+`]}`))
	f.Add("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1}`))
	want, _, err := matcher("linux/amd64")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, mediaType string, data []byte) {
		if x, err := parseIndex(data); err == nil {
			for _, d := range choose(x, want) {
				if d.Digest.Validate() != nil || d.Size < 0 {
					t.Errorf("index let %+v through", d)
				}
			}
		}
		m, err := parseManifest(mediaType, data)
		if err != nil {
			return
		}
		for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if d.Digest.Validate() != nil || d.Size < 0 {
				t.Errorf("manifest let %+v through", d)
			}
		}
		if c, err := parseConfig(data, len(m.Layers)); err == nil {
			newRecord(ocispec.Descriptor{}, m, c).chains()
		}
	})
}

func FuzzDockerArchive(f *testing.F) {
	f.Add([]byte(`[{"Config":"a.json","RepoTags":["a:1"],"Layers":["b/layer.tar"]}]`))
	f.Add([]byte(`[{"Config":"../../etc/passwd","RepoTags":null,"Layers":null}]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseDockerArchive(data)
		if err != nil {
			return
		}
		a := archiveFiles{files: map[string]ocispec.Descriptor{}, links: map[string]string{"a": "b", "b": "a"}}
		for _, e := range entries {
			if _, ok := a.find(e.Config); ok {
				t.Errorf("%q was found in an empty archive", e.Config)
			}
			if n := cleanName(e.Config); strings.HasPrefix(n, "/") || n == ".." || strings.HasPrefix(n, "../") {
				t.Errorf("%q became %q", e.Config, n)
			}
		}
	})
}
