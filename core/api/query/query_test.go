package query

import (
	"net/url"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func values(t *testing.T, s string) Values {
	t.Helper()
	v, err := url.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return Values{v}
}

func TestBool(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": false, "a=0": false, "a=no": false, "a=False": false, "a=none": false, "a=+": false,
		"a=1": true, "a=true": true, "a=yes": true, "a=x": true,
	} {
		if got := values(t, s).Bool("a"); got != want {
			t.Errorf("%q: got %t", s, got)
		}
	}
	if !values(t, "").BoolOr("a", true) || values(t, "a=0").BoolOr("a", true) {
		t.Error("BoolOr takes the default for a parameter that is there")
	}
}

func TestTime(t *testing.T) {
	for s, want := range map[string]time.Time{
		"": {}, "0": {}, "10": time.Unix(10, 0), "10.5": time.Unix(10, 5e8), "10.000000001": time.Unix(10, 1),
		"10.0000000019": time.Unix(10, 1), "-5": time.Unix(-5, 0),
	} {
		if got, err := values(t, "a="+s).Time("a"); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"x", "1.x", "1.-5", "1e3", "2024-01-01"} {
		if _, err := values(t, "a="+s).Time("a"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	v := values(t, "n=-1&bad=x&h=24&wide=70000")
	if n, err := v.Int("n"); err != nil || n == nil || *n != -1 {
		t.Errorf("n: %v", err)
	}
	if n, err := v.Int("none"); err != nil || n != nil {
		t.Errorf("none: %v %v", n, err)
	}
	if _, err := v.Int("bad"); !errdefs.IsInvalidArgument(err) || err.Error() != `invalid value "x" for "bad": want a number: invalid argument` {
		t.Errorf("bad: %v", err)
	}
	if n, err := v.Cells("h"); err != nil || n != 24 {
		t.Errorf("h: %d %v", n, err)
	}
	for _, name := range []string{"none", "bad", "wide", "n"} {
		if _, err := v.Cells(name); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzTime(f *testing.F) {
	f.Add("1700000000.123456789")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := (Values{url.Values{"a": {s}}}).Time("a"); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
	})
}
