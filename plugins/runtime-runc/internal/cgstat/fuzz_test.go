package cgstat

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strakehq/strake/sdk/runtime"
)

func FuzzFiles(f *testing.F) {
	f.Add("usage_usec 12\nuser_usec 3\n", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n", "max\n")
	f.Add("8:0 Read 123\n8:0 Total 5\nTotal 5\n", "8 rbytes\n\n", "18446744073709551616")
	f.Add("cache 1\n", "1:2:3 =\n", "-1")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, table, io, number string) {
		for names, text := range map[string][]string{
			table:  {"cpu.stat", "memory.stat", "memory.events", "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive", "cpuacct.stat"},
			io:     {"io.stat", "cpuacct.usage_percpu"},
			number: {"memory.current", "memory.max", "pids.max", "memory.usage_in_bytes", "cpuacct.usage"},
		} {
			for _, name := range text {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(names), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		all := map[string]string{"cpu": dir, "cpuacct": dir, "memory": dir, "pids": dir, "blkio": dir}
		for _, g := range []Groups{{V2: dir}, {V1: all}} {
			var s runtime.Stats
			if g.V2 != "" {
				g.read2(&s)
			} else {
				g.read1(&s)
			}
			for _, e := range s.BlkIO {
				if e.Op == "" {
					t.Errorf("no operation in %+v", e)
				}
			}
		}
	})
}
