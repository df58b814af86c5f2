package system

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// host holds the facts about the machine that info shows.
type host struct {
	kernel, kernelBuild string
	machine             string // as in uname -m
	name                string
	os, osVersion       string
	memory              int64 // bytes
}

func readHost() (host, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return host{}, fmt.Errorf("uname: %w", err)
	}
	h := host{
		kernel:      unix.ByteSliceToString(u.Release[:]),
		kernelBuild: unix.ByteSliceToString(u.Version[:]),
		machine:     unix.ByteSliceToString(u.Machine[:]),
		name:        unix.ByteSliceToString(u.Nodename[:]),
		os:          "Linux",
	}
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		values, err := readPairs(path, "=")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return host{}, err
		}
		if n := values["PRETTY_NAME"]; n != "" {
			h.os = n
		}
		h.osVersion = values["VERSION_ID"]
		break
	}
	mem, err := readPairs("/proc/meminfo", ":")
	if err != nil {
		return host{}, err
	}
	kib, err := strconv.ParseInt(strings.TrimSuffix(mem["MemTotal"], " kB"), 10, 64)
	if err != nil {
		return host{}, fmt.Errorf("/proc/meminfo: MemTotal: %w", err)
	}
	h.memory = kib << 10
	return h, nil
}

// readPairs reads lines of "key<sep>value", quotes and spaces taken off.
func readPairs(path, sep string) (_ map[string]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	pairs := map[string]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), sep); ok {
			pairs[k] = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return pairs, s.Err()
}

// engineID returns the id of this state directory, which is made once.
func engineID(stateDir string) (string, error) {
	path := filepath.Join(stateDir, "engine-id")
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("engine id: %w", err)
	}
	var r [16]byte
	rand.Read(r[:])         // never fails (crypto/rand, Go 1.24)
	r[6] = r[6]&0x0f | 0x40 // RFC 9562: version 4
	r[8] = r[8]&0x3f | 0x80 // variant 10
	id := fmt.Sprintf("%x-%x-%x-%x-%x", r[:4], r[4:6], r[6:8], r[8:10], r[10:])
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("engine id: %w", err)
	}
	return id, nil
}
