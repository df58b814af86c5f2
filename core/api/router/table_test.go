package router

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"testing"
)

// named makes a handler that puts its name into the request's header.
func named(name string) Handler {
	return func(_ context.Context, _ http.ResponseWriter, r *http.Request, _ map[string]string) error {
		r.Header.Set("Found", name)
		return nil
	}
}

func table() *Table {
	routes := []Route{
		Delete("/images/{name...}", nil), Get("/images/{name...}/json", nil), Get("/images/json", nil),
		Post("/images/{name...}/push", nil), Get("/exec/{id}/json", nil), Get("/volumes", nil),
		Get("/volumes/{name...}", nil), Get("/containers/{name...}/json", nil), Head("/_ping", nil),
	}
	for i := range routes {
		routes[i].Handler = named(routes[i].Path)
	}
	return NewTable(routes)
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		method, path, want string
		vars               map[string]string
	}{
		{"GET", "/images/json", "/images/json", nil},
		{"GET", "/images/nginx/json", "/images/{name...}/json", map[string]string{"name": "nginx"}},
		{"GET", "/images/a.io:5000/b/c:1/json", "/images/{name...}/json", map[string]string{"name": "a.io:5000/b/c:1"}},
		{"GET", "/images/json/json", "/images/{name...}/json", map[string]string{"name": "json"}},
		{"DELETE", "/images/a/json", "/images/{name...}", map[string]string{"name": "a/json"}},
		{"POST", "/images/push/push", "/images/{name...}/push", map[string]string{"name": "push"}},
		{"GET", "/exec/1/json", "/exec/{id}/json", map[string]string{"id": "1"}},
		{"GET", "/exec/1/2/json", "", nil},
		{"GET", "/exec//json", "", nil},
		{"GET", "/containers//web/json", "/containers/{name...}/json", map[string]string{"name": "/web"}},
		{"GET", "/containers//json", "", nil},
		{"GET", "/volumes", "/volumes", nil},
		{"GET", "/volumes/", "", nil},
		{"POST", "/volumes", "", nil},
		{"GET", "/_ping", "", nil},
		{"HEAD", "/_ping", "/_ping", nil},
		{"GET", "/", "", nil},
		{"GET", "", "", nil},
	} {
		h, vars, ok := table().Find(c.method, c.path)
		if ok != (c.want != "") {
			t.Errorf("%s %s: found %t", c.method, c.path, ok)
			continue
		}
		if !ok {
			continue
		}
		r := &http.Request{Header: http.Header{}}
		if err := h(t.Context(), nil, r, nil); err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Found"); got != c.want || !maps.Equal(vars, c.vars) {
			t.Errorf("%s %s: got %s %v, want %s %v", c.method, c.path, got, vars, c.want, c.vars)
		}
	}
}

func TestTheSameRouteTwiceIsAMistake(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewTable([]Route{Get("/a", nil), Get("/a", nil)})
}

func FuzzFind(f *testing.F) {
	f.Add("GET", "/images/a/b/json")
	f.Add("GET", "////")
	tab := table()
	f.Fuzz(func(t *testing.T, method, path string) {
		_, vars, _ := tab.Find(method, path)
		if slices.Contains(slices.Collect(maps.Values(vars)), "") {
			t.Errorf("%q: a wildcard matched nothing", path)
		}
	})
}
