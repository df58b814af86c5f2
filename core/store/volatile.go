package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// OpenVolatile opens a file for records that mean nothing after a reboot, such
// as those about network namespaces. Its transactions wait for no disk: they
// survive the death of the daemon, which the page cache does not share, and
// need not survive the kernel's. A file of another boot is begun anew, and so
// is one of another schema.
func OpenVolatile(path string, schema int) (*Store, error) {
	mark := fmt.Sprintf("%s %d\n", bootID(), schema)
	have, err := os.ReadFile(path + ".boot")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	if string(have) != mark {
		if err := begin(path, mark); err != nil {
			return nil, err
		}
	}
	s, err := openFile(path, nil, true)
	if err == nil || errdefs.IsUnavailable(err) {
		return s, err
	}
	return nil, fmt.Errorf("%w (it holds nothing that a reboot would not end: remove it when no container runs)", err)
}

// begin removes a stale file before the new mark is set, so that no crash
// between the two passes old records for new ones.
func begin(path, mark string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s: discard: %w", path, err)
	}
	if err := os.WriteFile(path+".boot", []byte(mark), 0o600); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	return nil
}
