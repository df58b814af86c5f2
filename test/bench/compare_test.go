package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

const (
	repetitions = 20
	busybox     = "127.0.0.1:5000/library/busybox"
	nginx       = "127.0.0.1:5000/library/nginx"
)

func BenchmarkCompareWithDocker(b *testing.B) {
	h := testkit.Start(b, testkit.WithCrun(), testkit.WithConfig("[runtimes.crun]\ndriver = \"runc\"\n[runtimes.crun.options]\nbinary = \"crun\"\n"))
	strake, byDocker, docker, dockerd := engines(b, h)
	all := []engine{strake, byDocker, docker}

	b.Run("pull", func(b *testing.B) {
		pull := interleave(5, []engine{strake, docker}, func(e engine) time.Duration {
			e.run("rmi", "-f", nginx)
			return timed(func() { e.must(b, "pull", "-q", nginx) })
		})
		pull.report(b, "pull nginx (5 MB)")
	})
	for _, e := range all {
		e.must(b, "pull", "-q", busybox)
	}
	for _, network := range []string{"bridge", "none"} {
		b.Run("start-"+network, func(b *testing.B) {
			start := interleave(repetitions, all, func(e engine) time.Duration {
				return timed(func() { e.must(b, "run", "--rm", "--network", network, busybox, "true") })
			})
			start.report(b, "run --rm busybox true, "+network)
		})
	}
	b.Run("start-crun", func(b *testing.B) {
		start := interleave(repetitions, []engine{strake, docker}, func(e engine) time.Duration {
			args := []string{"run", "--rm", "--runtime", "crun", busybox, "true"}
			if e.name == docker.name {
				args = []string{"run", "--rm", busybox, "true"}
			}
			return timed(func() { e.must(b, args...) })
		})
		start.report(b, "run with crun (docker.io: runc)")
	})
	b.Run("exec", func(b *testing.B) {
		ids := map[string]string{}
		for _, e := range all {
			ids[e.name] = e.must(b, "run", "-d", busybox, "sleep", "1000")
		}
		interleave(repetitions, all, func(e engine) time.Duration {
			return timed(func() { e.must(b, "exec", ids[e.name], "true") })
		}).report(b, "exec true")
		for _, e := range all {
			e.must(b, "rm", "-f", ids[e.name])
		}
	})
	b.Run("stop-rm", func(b *testing.B) {
		interleave(repetitions, all, func(e engine) time.Duration {
			id := e.must(b, "run", "-d", nginx)
			return timed(func() { e.must(b, "stop", id); e.must(b, "rm", id) })
		}).report(b, "stop and rm nginx")
	})
	b.Run("idle-memory", func(b *testing.B) {
		own := tree(b, h.Pid())
		peer := tree(b, dockerd)
		b.Logf("idle PSS: straked and drivers %.1f MiB (anonymous %.1f), dockerd and containerd %.1f MiB (anonymous %.1f)", own.pss, own.anon, peer.pss, peer.anon)
		b.ReportMetric(own.pss, "strake-MiB")
		b.ReportMetric(peer.pss, "docker.io-MiB")
	})
}

type memory struct{ pss, anon float64 }

// tree adds up the memory of a process and its children, in MiB.
func tree(b *testing.B, pid int) (m memory) {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "Pss:":
			m.pss += kib / 1024
		case "Pss_Anon:":
			m.anon += kib / 1024
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		list, err := os.ReadFile(t)
		if err != nil {
			continue // the thread ended
		}
		for _, c := range strings.Fields(string(list)) {
			n, err := strconv.Atoi(c)
			if err != nil {
				b.Fatal(err)
			}
			child := tree(b, n)
			m.pss, m.anon = m.pss+child.pss, m.anon+child.anon
		}
	}
	return m
}
