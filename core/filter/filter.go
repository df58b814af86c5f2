// Package filter parses and matches the filters query parameter of the Docker
// Engine API, a JSON object from filter name to values.
package filter

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Args are parsed filters: name → set of values. The zero value matches
// everything.
type Args map[string][]string

// Parse reads the query parameter. Both forms of the API are understood, the
// documented {"name":["v"]} and {"name":{"v":true}}, which Docker's own client
// sends; the values of the latter come out sorted. A name that is not in known
// is ErrInvalidArgument.
func Parse(param string, known ...string) (Args, error) {
	if param == "" {
		return nil, nil
	}
	a := Args{}
	if err := json.Unmarshal([]byte(param), (*map[string][]string)(&a)); err != nil {
		var old map[string]map[string]bool
		if json.Unmarshal([]byte(param), &old) != nil {
			return nil, fmt.Errorf("filters: not a JSON object of lists: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		a = Args{}
		for k, set := range old {
			for _, v := range slices.Sorted(maps.Keys(set)) {
				if set[v] {
					a[k] = append(a[k], v)
				}
			}
		}
	}
	for k := range a {
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("invalid filter %q: known filters are %s: %w", k, strings.Join(slices.Sorted(slices.Values(known)), ", "), errdefs.ErrInvalidArgument)
		}
	}
	return a, nil
}

// Has says whether filter name was given.
func (a Args) Has(name string) bool { return len(a[name]) > 0 }

// Get returns the values of filter name.
func (a Args) Get(name string) []string { return a[name] }

// Any says whether filter name was not given or one of its values satisfies
// match.
func (a Args) Any(name string, match func(value string) bool) bool {
	return !a.Has(name) || slices.ContainsFunc(a[name], match)
}

// Labels says whether all label filters ("key" or "key=value") hold.
func (a Args) Labels(labels map[string]string) bool {
	for _, l := range a["label"] {
		k, want, hasValue := strings.Cut(l, "=")
		got, ok := labels[k]
		if !ok || hasValue && got != want {
			return false
		}
	}
	return true
}

// Names lists the filters given, sorted.
func (a Args) Names() []string { return slices.Sorted(maps.Keys(a)) }

// Patterns prepares filter name, whose values are regular expressions: the
// result says whether one of them is found in one of the texts, or the filter
// was not given. ErrInvalidArgument for what is no expression.
func (a Args) Patterns(name string) (func(texts ...string) bool, error) {
	var all []*regexp.Regexp
	for _, v := range a[name] {
		re, err := regexp.Compile(v)
		if err != nil {
			return nil, fmt.Errorf("invalid filter '%s=%s': %w: %w", name, v, err, errdefs.ErrInvalidArgument)
		}
		all = append(all, re)
	}
	return func(texts ...string) bool {
		return len(all) == 0 || slices.ContainsFunc(all, func(re *regexp.Regexp) bool {
			return slices.ContainsFunc(texts, re.MatchString)
		})
	}, nil
}
