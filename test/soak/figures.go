package soak

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/strakehq/strake/test/testkit"
)

// Figures are what is held at one moment, by name. Sizes are in KiB.
type Figures map[string]int

// Take measures a host: its daemon and drivers by the name of their program,
// the shims together, and what is in the kernel and on disk.
func Take(h *testkit.Host) (Figures, error) {
	f := Figures{"links": 0, "cgroups": 0}
	if err := f.processes(h.Dir); err != nil {
		return nil, err
	}
	var info struct{ NGoroutines int }
	err := ask(h, "/info", func(r io.Reader) error { return json.NewDecoder(r).Decode(&info) })
	if err != nil {
		return nil, err
	}
	f["straked goroutines"] = info.NGoroutines
	if f["straked live heap KiB"], err = heap(h); err != nil {
		return nil, err
	}
	mounts, err := h.Mountinfo()
	if err != nil {
		return nil, err
	}
	f["mounts"] = strings.Count(mounts, h.Dir)
	for _, l := range h.Leaks() {
		kind, _, _ := strings.Cut(l, " ")
		f[kind+"s"]++
	}
	f["rules"] = strings.Count(h.FirewallRules(), "\n")
	if f["run directory KiB"], err = disk(h.RunDir); err != nil {
		return nil, err
	}
	f["disk KiB"], err = disk(filepath.Join(h.Dir, "state"))
	return f, err
}

// ask reads an answer of the daemon.
func ask(h *testkit.Host, path string, read func(io.Reader) error) error {
	resp, err := h.API().Get("http://strake" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return read(resp.Body)
}

// heap is what the daemon still refers to after a collection.
func heap(h *testkit.Host) (kib int, err error) {
	err = ask(h, "/debug/pprof/heap?gc=1&debug=1", func(r io.Reader) error {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
				kib = number(v) >> 10
				return nil
			}
		}
		return errors.New("the heap's profile does not give its size")
	})
	return kib, err
}

// processes adds memory, descriptors and threads of every process of the host.
func (f Figures) processes(dir string) error {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	daemon, err := parent(all, dir)
	if err != nil {
		return err
	}
	for _, p := range all {
		exe, err := os.Readlink(p + "/exe")
		if err != nil {
			continue // a thread of the kernel's, or it ended
		}
		name := filepath.Base(exe)
		status := fields(p + "/status")
		ours := p == daemon || status["PPid"] == filepath.Base(daemon)
		if name == "strake-shim" {
			args, err := os.ReadFile(p + "/cmdline")
			ours = err == nil && strings.Contains(string(args), dir)
		}
		if !ours || !strings.HasPrefix(name, "strake") {
			continue
		}
		fds, err := os.ReadDir(p + "/fd")
		if err != nil {
			continue
		}
		f[name+" processes"]++
		f[name+" descriptors"] += len(fds)
		f[name+" threads"] += number(status["Threads"])
		f[name+" anonymous KiB"] += number(status["RssAnon"])
	}
	return nil
}

// parent finds the daemon of a directory.
func parent(all []string, dir string) (string, error) {
	for _, p := range all {
		args, err := os.ReadFile(p + "/cmdline")
		if err == nil && strings.Contains(string(args), "straked\x00--config\x00"+dir) {
			return p, nil
		}
	}
	return "", fmt.Errorf("the daemon of %s is not running: %w", dir, fs.ErrNotExist)
}

func fields(path string) map[string]string {
	out := map[string]string{}
	b, err := os.ReadFile(path)
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		out[k] = strings.TrimSpace(v)
	}
	return out
}

// number reads a count; what has ended counts nothing.
func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(s, " kB"))
	if err != nil {
		return 0
	}
	return n
}

// disk adds up the files of a directory, but for drivers' logs, which are bounded
// elsewhere.
func disk(dir string) (kib int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".log") {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		if i, err := d.Info(); err == nil {
			kib += int(i.Size() >> 10)
		}
		return nil
	})
	return kib, err
}

// Table shows the figures of several moments side by side.
func Table(moments ...Figures) string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(merged(moments))) {
		fmt.Fprintf(&b, "%-36s", n)
		for _, m := range moments {
			fmt.Fprintf(&b, " %8d", m[n])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// merged has every figure's name.
func merged(moments []Figures) Figures {
	all := Figures{}
	for _, m := range moments {
		maps.Copy(all, m)
	}
	return all
}
