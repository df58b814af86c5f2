package spec

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzResolveUser reads /etc/passwd and /etc/group of an image.
func FuzzResolveUser(f *testing.F) {
	passwd, group := "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/false\n", "root:x:0:\nwww:x:33:www,root\naudio:x:29:www\n"
	f.Add("www", "audio", []byte(passwd), []byte(group))
	f.Add("33:audio", "29", []byte(passwd), []byte(group))
	f.Add("-1:4294967295", "", []byte("x:x:-1:-1:::\n"), []byte("x:x:99999999999:\n"))
	f.Add("web", "g", []byte("web:x:4294967296:99999999999999999999::/:\n"), []byte("g:x:4294967296:web\n"))
	f.Add("a:b:c", "::", []byte(":::::::"), []byte("\x00\n#\n"))
	f.Fuzz(func(t *testing.T, name, add string, passwd, group []byte) {
		var more []string
		if add != "" {
			more = []string{add}
		}
		u, err := ResolveUser(name, more, passwd, group)
		if err != nil {
			return
		}
		const most = 1<<31 - 1
		for _, id := range append(u.AdditionalGids, u.UID, u.GID) {
			if id > most {
				t.Errorf("user %q became id %d", name, id)
			}
		}
		if u.UID == 0 && !rootIn(name, passwd) {
			t.Errorf("user %q became root", name)
		}
	})
}

// rootIn says whether a user may be root: nobody is named, or 0, or one whose
// line has 0 for an id.
func rootIn(name string, passwd []byte) bool {
	name, _, _ = strings.Cut(name, ":")
	if n, err := strconv.Atoi(name); name == "" || err == nil && n == 0 {
		return true
	}
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) > 2 && (f[0] == name || f[2] == name) {
			if n, err := strconv.ParseUint(f[2], 10, 64); err == nil && n == 0 {
				return true
			}
		}
	}
	return false
}
