package mount

import (
	"strings"
	"testing"
)

func FuzzOptions(f *testing.F) {
	f.Add("overlay", "lowerdir=/a:/b,upperdir=/c,workdir=/d,ro")
	f.Add("tmpfs", "nosuid,noexec,size=64m,mode=1777")
	f.Add("bind", "rbind,ro,rprivate,rnosuid")
	f.Add("", ",,defaults,suid,nosuid,\x00")
	f.Fuzz(func(t *testing.T, fstype, text string) {
		opts := strings.Split(text, ",")
		o, err := parse(fstype, opts)
		if err != nil {
			return
		}
		if o.set&o.clear != 0 || o.attrSet&o.attrClear != 0 {
			t.Errorf("%q both sets and clears: %+v", text, o)
		}
		if o.bind && len(o.data) > 0 || strings.Contains(strings.Join(o.data, ""), "\x00") {
			t.Errorf("%q lets %q through", text, o.data)
		}
	})
}
