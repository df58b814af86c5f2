package measure

import (
	"bytes"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where and in which state measurements were made.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	MemMiB uint64 `json:"memoryMiB"`
	Load   string `json:"load"` // /proc/loadavg at the beginning
	// FavorDynMods says that cgroups are mounted for processes that move often.
	FavorDynMods bool   `json:"favordynmods"`
	Go           string `json:"go"`
}

// ThisMachine describes it; what cannot be read is empty.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: field("/proc/cpuinfo", "model name")}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = string(bytes.TrimRight(u.Release[:], "\x00"))
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MemMiB = s.Totalram * uint64(s.Unit) >> 20
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/mounts"); err == nil {
		m.FavorDynMods = strings.Contains(string(b), "favordynmods")
	}
	return m
}

func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
