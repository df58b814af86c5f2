package containers

import (
	"net/url"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/logs"
)

func TestLogOptions(t *testing.T) {
	for s, want := range map[string]logs.Options{
		"stdout=1":                             {Stdout: true, Tail: -1},
		"stderr=1&tail=all":                    {Stderr: true, Tail: -1},
		"stdout=1&tail=0":                      {Stdout: true},
		"stdout=1&tail=-3":                     {Stdout: true, Tail: -1},
		"stdout=1&tail=7&follow=1":             {Stdout: true, Tail: 7, Follow: true},
		"stdout=1&timestamps=1&details=1":      {Stdout: true, Tail: -1, Timestamps: true, Details: true},
		"stdout=1&since=5&until=6.000000001":   {Stdout: true, Tail: -1, Since: time.Unix(5, 0).UTC(), Until: time.Unix(6, 1).UTC()},
		"stdout=1&since=0&until=0&follow=no":   {Stdout: true, Tail: -1},
		"stdout=True&stderr=none&tail=1000000": {Stdout: true, Tail: 1000000},
	} {
		v, err := url.ParseQuery(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := logOptions(query.Values{Values: v}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
}

func FuzzLogOptions(f *testing.F) {
	f.Add("stdout=1&since=1700000000.5&tail=10")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		o, err := logOptions(query.Values{Values: v})
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
		if err == nil && o.Tail < -1 {
			t.Errorf("tail is %d", o.Tail)
		}
	})
}
