package mount

import (
	"slices"
	"testing"
)

func TestDirsOfAMount(t *testing.T) {
	for name, c := range map[string]struct {
		m             Mount
		written, read []string
	}{
		"bind":           {Mount{Type: "bind", Source: "/a/../b/", Options: []string{"rbind", "rw"}}, []string{"/b"}, nil},
		"read-only bind": {Mount{Type: "bind", Source: "/a", Options: []string{"rbind", "ro"}}, nil, []string{"/a"}},
		"overlay": {
			Mount{Type: "overlay", Source: "overlay", Options: []string{"xino=off", "upperdir=/u", "workdir=/w", `lowerdir=/a:/b\:c\,d:/e`}},
			[]string{"/u", "/w"}, []string{"/a", "/b:c,d", "/e"},
		},
		"view":              {Mount{Type: "overlay", Options: []string{"ro", "lowerdir=/a:/b"}}, nil, []string{"/a", "/b"}},
		"layers one by one": {Mount{Type: "overlay", Options: []string{"lowerdir+=/a", "lowerdir+=/b", "datadir+=/c"}}, nil, []string{"/a", "/b", "/c"}},
		"layers of data":    {Mount{Type: "overlay", Options: []string{"lowerdir=/a::/b"}}, nil, []string{"/a", "/b"}},
		"relative":          {Mount{Type: "overlay", Options: []string{"upperdir=../x"}}, []string{"../x"}, nil},
		"a device":          {Mount{Type: "erofs", Source: "/dev/loop0"}, nil, nil},
	} {
		if written, read := Dirs(c.m); !slices.Equal(written, c.written) || !slices.Equal(read, c.read) {
			t.Errorf("%s: %q and %q", name, written, read)
		}
	}
}
