package overlay

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/mount"
	"github.com/strakehq/strake/sdk/storage"
)

// maxLayers is overlayfs's limit of lower layers.
const maxLayers = 500

// chain returns the directories of the layers from parent down, top first. A
// layer whose root is opaque is the last.
func (s *store) chain(parent storage.SnapshotKey) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var dirs []string
	for key := parent; key != ""; {
		e, ok := s.byKey[key]
		if !ok {
			return nil, notFound(key)
		}
		dirs = append(dirs, s.fs(e.n))
		if e.Opaque {
			break
		}
		key = e.Parent
	}
	if len(dirs) > maxLayers {
		return nil, fmt.Errorf("snapshot %s: %w: a chain of %d layers, overlayfs takes %d", parent, errdefs.ErrFailedPrecondition, len(dirs), maxLayers)
	}
	return dirs, nil
}

// mounts describes the mount of an active snapshot or a view.
func (s *store) mounts(e snapshot) ([]mount.Mount, error) {
	if e.Parent == "" {
		return s.bare(e), nil
	}
	lower, err := s.chain(e.Parent)
	if err != nil {
		return nil, err
	}
	opts := append([]string(nil), s.base...)
	if e.Kind == storage.View {
		opts = append(opts, "ro")
		if len(lower) == 1 {
			// without an upper directory overlayfs wants two layers; a
			// plain bind would show the layer's whiteouts
			lower = append(lower, filepath.Join(s.root, "empty"))
		}
	} else {
		opts = append(opts,
			"upperdir="+mount.EscapeLayer(s.fs(e.n)),
			"workdir="+mount.EscapeLayer(s.path(e.n)+"/work"))
	}
	for i, dir := range lower {
		lower[i] = mount.EscapeLayer(dir)
	}
	opts = append(opts, "lowerdir="+strings.Join(lower, ":"))
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: opts}}, nil
}

// bare describes a snapshot without a parent: its own directory.
func (s *store) bare(e snapshot) []mount.Mount {
	mode := "rw"
	if e.Kind == storage.View {
		mode = "ro"
	}
	return []mount.Mount{{Type: "bind", Source: s.fs(e.n), Options: []string{"rbind", mode}}}
}
