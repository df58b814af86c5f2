package system

import (
	"strings"
	"testing"
)

func TestRuntimesThatLackFixesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name, version string
		want          []string
	}{
		{"runc", "1.1.5+ds1", []string{"CVE-2024-21626", "CVE-2025-31133"}},
		{"runc", "1.0.3", []string{"CVE-2024-21626", "CVE-2025-31133"}},
		{"runc", "1.1.12", []string{"CVE-2025-31133"}},
		{"runc", "1.2.7", []string{"CVE-2025-31133"}},
		{"runc", "1.2.8", nil},
		{"runc", "1.3.2", []string{"CVE-2025-31133"}},
		{"runc", "1.3.3-0ubuntu1", nil},
		{"runc", "1.10.0", nil},
		{"runc", "2.0.0", nil},
		{"runc", "unknown", nil},
		{"crun", "0.9.0", nil},
		{"", "", nil},
	} {
		got := ociRuntime{c.name, c.version}.warning()
		if (got == "") != (c.want == nil) || !strings.Contains(got, c.version) && got != "" {
			t.Errorf("%s %s: %q", c.name, c.version, got)
		}
		for _, cve := range []string{"CVE-2024-21626", "CVE-2025-31133"} {
			wanted := strings.Contains(strings.Join(c.want, " "), cve)
			if strings.Contains(got, cve) != wanted {
				t.Errorf("%s %s: names %s: %t, want %t: %q", c.name, c.version, cve, !wanted, wanted, got)
			}
		}
	}
}
