package filter

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for param, want := range map[string]Args{
		"":                                 nil,
		"{}":                               {},
		`{"name":["a","b"]}`:               {"name": {"a", "b"}},
		`{"name":{"b":true,"a":true}}`:     {"name": {"a", "b"}},
		`{"name":{"a":true,"b":false}}`:    {"name": {"a"}},
		`{"label":["k=v"],"name":["/a"]}`:  {"label": {"k=v"}, "name": {"/a"}},
		`{"label":{"k=v":true},"name":{}}`: {"label": {"k=v"}},
	} {
		if got, err := Parse(param, "name", "label"); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", param, got, err, want)
		}
	}
	for _, param := range []string{"x", "[]", `{"name":1}`, `{"name":[1]}`, `{"other":["a"]}`, `{"other":{"a":true}}`} {
		if _, err := Parse(param, "name"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v", param, err)
		}
	}
}

func TestLabels(t *testing.T) {
	labels := map[string]string{"a": "1", "b": ""}
	for want, filters := range map[bool][][]string{
		true:  {nil, {"a"}, {"a=1"}, {"b"}, {"b="}, {"a", "b"}},
		false: {{"c"}, {"a=2"}, {"a="}, {"a", "c"}, {"b=1"}},
	} {
		for _, f := range filters {
			if got := (Args{"label": f}).Labels(labels); got != want {
				t.Errorf("%v: got %t", f, got)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	for want, patterns := range map[bool][]string{true: {"web", "^/?web-1$", "a|e", "^web", "1$"}, false: {"^eb", "web$", "db"}} {
		for _, p := range patterns {
			match, err := Args{"name": {p}}.Patterns("name")
			if err != nil || match("/web-1", "web-1") != want {
				t.Errorf("%s: not %t, %v", p, want, err)
			}
		}
	}
	if match, err := (Args{}).Patterns("name"); err != nil || !match("any") {
		t.Errorf("no filter: %v", err)
	}
	if _, err := (Args{"name": {"("}}).Patterns("name"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"name":["a"]}`)
	f.Add(`{"name":{"a":true}}`)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s, "name")
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
		a.Any("name", func(string) bool { return true })
	})
}
