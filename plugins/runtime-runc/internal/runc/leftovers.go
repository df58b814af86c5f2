package runc

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/strakehq/strake/sdk/runtime"
	"github.com/strakehq/strake/sdk/shim/wire"
)

// leftovers is what there is at one moment of containers that are not kept.
type leftovers struct {
	containers []runtime.ContainerID
	shims      map[int]string // pid → directory
	sockets    []string       // paths
	remembered []remembered
}

// remembered is a container that an OCI runtime has state of.
type remembered struct {
	runtime wire.Runtime
	id      string
}

func (s *setup) leftovers(kept map[string]bool) (l leftovers, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return l, err
	}
	for _, e := range entries {
		if !kept[e.Name()] {
			l.containers = append(l.containers, runtime.ContainerID(e.Name()))
		}
	}
	l.shims, err = shims()
	maps.DeleteFunc(l.shims, func(_ int, dir string) bool { return filepath.Dir(dir) != s.dir || kept[filepath.Base(dir)] })
	var serr, rerr error
	l.sockets, serr = s.strangeSockets(kept)
	l.remembered, rerr = s.remembered(kept)
	return l, errors.Join(err, serr, rerr)
}

// strangeSockets are those of no container.
func (s *setup) strangeSockets(kept map[string]bool) (paths []string, err error) {
	prefixes := map[string]bool{}
	for id := range kept {
		prefixes[filepath.Base(s.socketPrefix(runtime.ContainerID(id)))] = true
	}
	entries, err := os.ReadDir(s.sockets)
	for _, e := range entries {
		if prefix, _, _ := strings.Cut(e.Name(), "."); !prefixes[prefix] {
			paths = append(paths, filepath.Join(s.sockets, e.Name()))
		}
	}
	return paths, err
}

// remembered lists what OCI runtimes remember of no container.
func (s *setup) remembered(kept map[string]bool) (all []remembered, err error) {
	rt, err := s.ociRuntime("")
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadDir(filepath.Dir(rt.Root))
	for _, r := range roots {
		binary, lerr := lookPath(r.Name())
		if lerr != nil {
			binary = s.binary // its name differs only by path
		}
		of := wire.Runtime{Binary: binary, Root: filepath.Join(filepath.Dir(rt.Root), r.Name())}
		of.Args = []string{"--root", of.Root}
		ids, rerr := os.ReadDir(of.Root)
		err = errors.Join(err, rerr)
		for _, id := range ids {
			if !kept[id.Name()] {
				all = append(all, remembered{of, id.Name()})
			}
		}
	}
	return all, err
}
