package router

import (
	"fmt"
	"strings"
)

// Table finds routes. It is safe for concurrent use once made.
type Table struct {
	exact    map[string]Handler   // by method and path
	patterns map[string][]pattern // by method and first segment, as registered
}

type pattern struct {
	segments []string
	rest     int // index of the "{name...}" segment, or -1
	handler  Handler
}

// NewTable makes a table. A path without wildcards goes before those with;
// among these the first registered wins. The same method and path twice is a
// mistake of the program and panics, as with http.ServeMux.
func NewTable(routes []Route) *Table {
	t := &Table{exact: map[string]Handler{}, patterns: map[string][]pattern{}}
	seen := map[string]bool{}
	for _, r := range routes {
		key := r.Method + " " + r.Path
		if seen[key] {
			panic(fmt.Sprintf("router: %s is registered twice", key))
		}
		seen[key] = true
		if !strings.Contains(r.Path, "{") {
			t.exact[key] = r.Handler
			continue
		}
		p := newPattern(r)
		first := r.Method + " " + p.segments[0]
		t.patterns[first] = append(t.patterns[first], p)
	}
	return t
}

func newPattern(r Route) pattern {
	p := pattern{segments: strings.Split(strings.TrimPrefix(r.Path, "/"), "/"), rest: -1, handler: r.Handler}
	for i, s := range p.segments {
		if strings.HasSuffix(s, "...}") {
			p.rest = i
		}
	}
	return p
}

// Find returns the handler for a request and the wildcards' values; ok is
// false when there is none.
func (t *Table) Find(method, path string) (h Handler, vars map[string]string, ok bool) {
	if h, ok := t.exact[method+" "+path]; ok {
		return h, nil, true
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for _, p := range t.patterns[method+" "+segments[0]] {
		if vars, ok := p.match(segments); ok {
			return p.handler, vars, true
		}
	}
	return nil, nil, false
}

func (p pattern) match(path []string) (map[string]string, bool) {
	extra := len(path) - len(p.segments)
	if extra < 0 || extra > 0 && p.rest < 0 {
		return nil, false
	}
	vars := map[string]string{}
	for i, want := range p.segments {
		at, end := i, i+1
		switch {
		case p.rest >= 0 && i > p.rest:
			at, end = i+extra, i+extra+1
		case i == p.rest:
			end += extra
		}
		got := strings.Join(path[at:end], "/")
		name, wild := strings.CutPrefix(want, "{")
		if !wild && got != want || wild && got == "" {
			return nil, false
		}
		if wild {
			vars[strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")] = got
		}
	}
	return vars, true
}
