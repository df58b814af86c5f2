package version

import (
	"testing"

	"github.com/containerd/errdefs"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ asked, err string }{
		{"", ""},
		{"1.24", ""},
		{"1.41", ""},
		{Newest, ""},
		{"1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"1.10", "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"0.9", "client version 0.9 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"1.57", "client version 1.57 is too new. Maximum supported API version is 1.56"},
		{"1.99", "client version 1.99 is too new. Maximum supported API version is 1.56"},
		{"2.0", "client version 2.0 is too new. Maximum supported API version is 1.56"},
		{"1", `invalid API version "1": want a version from 1.24 to 1.56: invalid argument`},
		{"1.2.3", `invalid API version "1.2.3": want a version from 1.24 to 1.56: invalid argument`},
		{"1.", `invalid API version "1.": want a version from 1.24 to 1.56: invalid argument`},
		{"99999999999.1", `invalid API version "99999999999.1": want a version from 1.24 to 1.56: invalid argument`},
	} {
		v, err := Check(c.asked)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || err.Error() != c.err):
			t.Errorf("%q: got %v, want %q", c.asked, err, c.err)
		case c.err != "" && !errdefs.IsInvalidArgument(err):
			t.Errorf("%q: %v is no invalid argument", c.asked, err)
		case c.err == "" && c.asked != "" && v.String() != c.asked:
			t.Errorf("%q became %s", c.asked, v)
		}
	}
}

func TestTheRangeIsThatOfTheConstants(t *testing.T) {
	if v, err := Check(""); err != nil || v.String() != Newest {
		t.Errorf("no version is %s (%v), want %s", v, err, Newest)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("1.41")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := Check(s); err == nil && (v.Before(1, 24) || (Version{1, 56}).Before(v.Major, v.Minor)) {
			t.Errorf("%q gave %s", s, v)
		}
	})
}
