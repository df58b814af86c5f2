package network

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/filter"
)

func checkFilters(f filter.Args) error {
	for _, v := range f.Get("type") {
		if v != "custom" && v != "builtin" {
			return fmt.Errorf("invalid filter: 'type'='%s', want custom or builtin: %w", v, errdefs.ErrInvalidArgument)
		}
	}
	for _, v := range f.Get("dangling") {
		if _, err := strconv.ParseBool(v); err != nil {
			return fmt.Errorf("invalid filter 'dangling=%s', want true or false: %w", v, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func matches(f filter.Args, r record, used func() bool) bool {
	equal := func(have string) func(string) bool { return func(v string) bool { return v == have } }
	return f.Any("driver", equal(r.Driver)) &&
		f.Any("scope", equal("local")) &&
		f.Any("id", func(v string) bool { return strings.HasPrefix(r.ID, v) }) &&
		f.Any("name", func(v string) bool { return strings.Contains(r.Name, v) }) &&
		f.Any("type", func(v string) bool { return (v == "builtin") == r.predefined() }) &&
		f.Any("dangling", func(v string) bool {
			want, err := strconv.ParseBool(v)
			return err == nil && want == (!r.predefined() && !used())
		}) &&
		labelled(f, r)
}

// labelled says whether the label filters hold, and those with an exclamation
// mark do not.
func labelled(f filter.Args, r record) bool {
	return f.Labels(r.Labels) && !slices.ContainsFunc(f.Get("label!"), func(l string) bool {
		return filter.Args{"label": {l}}.Labels(r.Labels)
	})
}

// until reads the filter of this name: a time, seconds since 1970, or how long
// ago.
func until(f filter.Args) (time.Time, error) {
	v := f.Get("until")
	if len(v) == 0 {
		return time.Time{}, nil
	}
	if len(v) > 1 {
		return time.Time{}, fmt.Errorf("more than one until filter specified: %w", errdefs.ErrInvalidArgument)
	}
	if d, err := time.ParseDuration(v[0]); err == nil {
		return time.Now().Add(-d), nil
	}
	if s, err := strconv.ParseInt(v[0], 10, 64); err == nil {
		return time.Unix(s, 0), nil
	}
	t, err := time.Parse(time.RFC3339, v[0])
	if err != nil {
		return t, fmt.Errorf("invalid filter until=%q, want a time such as 2026-01-02T15:04:05Z or an age such as 24h: %w", v[0], errdefs.ErrInvalidArgument)
	}
	return t, nil
}
