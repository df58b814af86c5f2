package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/container"
	"github.com/strakehq/strake/sdk/mishap"
	sdk "github.com/strakehq/strake/sdk/network"
)

// attachment is what is recorded of a container's networking.
type attachment struct {
	// ID and Name are the container's.
	ID, Name string
	// Boot is the kernel's boot id.
	Boot string
	// NetNS is the path of the pinned namespace; empty in host mode.
	NetNS     string
	Endpoints []endpoint
	// Done: State is true. Before, anything may be half made.
	Done  bool
	State container.NetworkState
}

// endpoint is one network that the container has joined.
type endpoint struct {
	// Network is its name, DriverKey and Driver are as in its record.
	Network           string
	DriverKey, Driver string
	Request           sdk.AttachRequest
	// Made is the driver's answer.
	Made sdk.Attachment
	// Settings are the user's wishes.
	Settings *network.EndpointSettings
}

func (e endpoint) servedBy(name string) bool {
	return e.DriverKey == name || e.DriverKey == "" && e.Driver == name
}

func (m *Manager) attachment(id string) (*attachment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.attachments[id]
	return a, ok
}

func (m *Manager) allAttachments() []*attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*attachment, 0, len(m.attachments))
	for _, a := range m.attachments {
		out = append(out, a)
	}
	return out
}

// note writes an attachment's record to its file and to memory.
func (m *Manager) note(a attachment) error {
	if err := m.files.write(&a); err != nil {
		return fmt.Errorf("container %s: record of its networks: %w", a.ID, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attachments[a.ID] = &a
	return nil
}

func (m *Manager) forget(id string) error {
	if err := m.files.remove(id); err != nil {
		return fmt.Errorf("container %s: record of its networks: %w", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attachments, id)
	return nil
}

// Renamed tells the manager a container's new name.
func (m *Manager) Renamed(id, name string) error {
	have, ok := m.attachment(id)
	if !ok {
		return nil
	}
	a := *have
	a.Name = strings.TrimPrefix(name, "/")
	return m.note(a)
}

// files are attachments on disk, one file each. They are not synced: a reboot
// ends attachments anyway, and a killed daemon loses nothing that was written.
type files struct{ dir string }

const fileSuffix = ".json"

func (f files) path(id string) string { return filepath.Join(f.dir, id+fileSuffix) }

func (f files) write(a *attachment) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	aside := f.path(a.ID) + ".tmp"
	if err := os.WriteFile(aside, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(aside, f.path(a.ID)); err != nil {
		return err
	}
	mishap.Hit(mishap.AttachmentNoted)
	return nil
}

func (f files) remove(id string) error {
	if err := os.Remove(f.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mishap.Hit(mishap.AttachmentGone)
	return nil
}

func (f files) each(use func(*attachment) error) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(f.dir, e.Name())
		if !strings.HasSuffix(name, fileSuffix) {
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		a := &attachment{}
		if err := json.Unmarshal(data, a); err != nil {
			return fmt.Errorf("%s: unreadable, remove the file: %w: %w", name, err, errdefs.ErrDataLoss)
		}
		if err := use(a); err != nil {
			return err
		}
	}
	return nil
}
