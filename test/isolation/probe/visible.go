package main

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// keyrings asks for keys with valid arguments.
func keyrings(r report) {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	r["key.session"] = answer(err)
	_, err = unix.AddKey("user", "strake-probe", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
	r["key.add"] = answer(err)
	_, err = unix.RequestKey("user", "strake-probe", "", unix.KEY_SPEC_SESSION_KEYRING)
	r["key.request"] = answer(err)
	r["key.list"] = strconv.Itoa(strings.Count(read("/proc/keys"), "\n"))
}

// processes are the others that can be seen.
func processes(r report) {
	list, err := os.ReadDir("/proc")
	if err != nil {
		r["processes"] = answer(err)
		return
	}
	others := 0
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() {
			others++
		}
	}
	r["processes.others"] = strconv.Itoa(others)
}

// sockets are the unix sockets in the file system and in the network namespace,
// and whether they take a connection.
func sockets(r report) {
	var open []string
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "/proc" || path == "/sys" {
			return fs.SkipDir
		}
		if d.Type()&fs.ModeSocket != 0 {
			open = append(open, path+"="+connect(path))
		}
		return nil
	})
	if err != nil {
		open = append(open, answer(err))
	}
	r["unix.files"] = words(open)
	open = nil
	for l := range strings.Lines(read("/proc/net/unix")) {
		f := strings.Fields(l)
		if len(f) < 8 || f[0] == "Num" {
			continue
		}
		if strings.HasPrefix(f[7], "@") {
			open = append(open, f[7]+"="+connect(f[7]))
		}
	}
	r["unix.abstract"] = words(open)
}

func connect(name string) string {
	c, err := net.DialTimeout("unix", name, time.Second)
	if err == nil {
		err = c.Close()
	}
	return answer(err)
}
