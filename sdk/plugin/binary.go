package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

// checkBinary refuses what should not be run with the host's rights. sum is a
// hexadecimal SHA-256 digest, or empty.
func checkBinary(path, sum string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("driver binary %s: does not exist: %w", path, errdefs.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("driver binary: %w: %w", errdefs.ErrPermissionDenied, err)
	}
	err = errors.Join(checkFile(f), checkSum(f, sum))
	return errors.Join(err, f.Close())
}

func checkFile(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("driver binary: %w", err)
	}
	// The file that runs is the link's target, so its directory counts.
	real, err := filepath.EvalSymlinks(f.Name())
	if err != nil {
		return fmt.Errorf("driver binary: %w", err)
	}
	dir, err := os.Stat(filepath.Dir(real))
	if err != nil {
		return fmt.Errorf("driver binary: %w", err)
	}
	mode := fi.Mode()
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("driver binary %s: not a regular file: %w", f.Name(), errdefs.ErrInvalidArgument)
	case mode.Perm()&0o111 == 0:
		return refuse(f, "not executable: chmod +x it")
	case owner(fi) != 0 && owner(fi) != os.Geteuid():
		return refuse(f, fmt.Sprintf("owned by user %d: it must be owned by root: chown root it", owner(fi)))
	case mode.Perm()&0o022 != 0:
		return refuse(f, fmt.Sprintf("others may write it (mode %04o): chmod go-w it", mode.Perm()))
	case dir.Mode().Perm()&0o002 != 0 && dir.Mode()&os.ModeSticky == 0:
		return refuse(f, fmt.Sprintf("everybody may write its directory %s: chmod o-w it", filepath.Dir(real)))
	}
	return nil
}

func refuse(f *os.File, why string) error {
	return fmt.Errorf("driver binary %s: %s: %w", f.Name(), why, errdefs.ErrPermissionDenied)
}

func owner(fi os.FileInfo) int {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func checkSum(f *os.File, want string) error {
	if want == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("driver binary %s: digest: %w", f.Name(), err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, want) {
		return fmt.Errorf("driver binary %s: its SHA-256 digest is %s, the configuration says %s: %w",
			f.Name(), got, want, errdefs.ErrPermissionDenied)
	}
	return nil
}
