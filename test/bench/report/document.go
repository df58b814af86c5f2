package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/strakehq/strake/test/bench/measure"
)

// Run is everything that is known of one run.
type Run struct {
	Date    time.Time         `json:"date"`
	Version string            `json:"version"`
	Took    string            `json:"took"`
	Machine measure.Machine   `json:"machine"`
	Peers   map[string]string `json:"peers"`            // versions
	Missing map[string]string `json:"missing"`          // peers that could not be started, and why
	Failed  map[string]string `json:"failed,omitempty"` // groups, and why
	Goals   []Judgement       `json:"goals"`
	*measure.Book
}

// Write writes benchmarks.md, benchmarks.json and a plot for each measurement
// into dir.
func Write(dir string, r *Run) error {
	plots := filepath.Join(dir, "benchmarks")
	if err := errors.Join(os.RemoveAll(plots), os.MkdirAll(plots, 0o755)); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(rounded(r), "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.json"), append(compact(raw), '\n'), 0o644); err != nil {
		return err
	}
	var md strings.Builder
	heading(&md, r)
	goals(&md, r.Goals)
	if err := measurements(&md, plots, r.Book); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(md.String()), 0o644)
}

// rounded has samples with four digits, which is more than they are good for.
func rounded(r *Run) *Run {
	c := *r
	c.Book = &measure.Book{}
	for _, s := range r.All {
		x := *s
		x.Sample, x.CPU, x.Peak = round(s.Sample), round(s.CPU), round(s.Peak)
		c.All = append(c.All, &x)
	}
	return &c
}

func round(list []float64) []float64 {
	out := slices.Clone(list)
	for i, v := range out {
		_, _ = fmt.Sscanf(fmt.Sprintf("%.4g", v), "%g", &out[i]) // its own format
	}
	return out
}

// compact puts the numbers of a list on one line.
func compact(raw []byte) []byte {
	return regexp.MustCompile(`,\s+([-0-9])`).ReplaceAll(raw, []byte(", $1"))
}

func heading(md *strings.Builder, r *Run) {
	m := r.Machine
	fmt.Fprintf(md, "# Benchmarks\n\nWritten by `make bench`; all samples are in [benchmarks.json](benchmarks.json). What the numbers mean and how\nthey are held is in [performance.md](performance.md).\n\n")
	fmt.Fprintf(md, "Strake %s on %s, %d cores (%s), %d MiB, Linux %s, load at the beginning %s. The run took %s.\n",
		r.Version, r.Date.Format("2006-01-02 15:04"), m.Cores, m.CPU, m.MemMiB, m.Kernel, m.Load, r.Took)
	if m.FavorDynMods {
		md.WriteString("Cgroups are mounted with favordynmods, which spares every start and exec of every engine a wait in the kernel. ")
	}
	for _, name := range sortedKeys(r.Peers) {
		fmt.Fprintf(md, "%s: %s. ", name, r.Peers[name])
	}
	md.WriteString("\n")
	for _, name := range sortedKeys(r.Missing) {
		fmt.Fprintf(md, "\n**%s could not be started**: %s\n", name, oneLine(r.Missing[name]))
	}
	for _, name := range sortedKeys(r.Failed) {
		fmt.Fprintf(md, "\n**The group %s failed**: %s\n", name, oneLine(r.Failed[name]))
	}
	md.WriteString("\nEngines take turns, one repetition each, after a warm-up that does not count. Every engine has a network\n" +
		"namespace, a registry on loopback, directories and a cgroup of its own; run directories are on tmpfs. CPU is the processor time of daemon, drivers,\n" +
		"clients, OCI runtimes and containers for one repetition, until its answer.\n")
}

func goals(md *strings.Builder, list []Judgement) {
	md.WriteString("\n## Goals\n\n| | goal | wanted | is | |\n|---|---|---|---|---|\n")
	for _, g := range list {
		fmt.Fprintf(md, "| %s | %s | %s | %s | %s |\n", g.Group, g.Text, g.Wanted, g.Is, strings.ReplaceAll(g.Verdict, "missed", "**missed**"))
	}
}

func measurements(md *strings.Builder, plots string, b *measure.Book) error {
	md.WriteString("\n## Measurements\n")
	all := rows(b)
	for i := 0; i < len(all); {
		first := b.All[i]
		n := i + 1
		for n < len(all) && b.All[n].Group == first.Group && b.All[n].Name == first.Name {
			n++
		}
		name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(first.Group+"-"+first.Name), "-") + ".svg"
		if err := os.WriteFile(filepath.Join(plots, name), []byte(Plot(b.All[i:n])), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(md, "\n### %s: %s\n\n![%s](benchmarks/%s)\n\n", first.Group, first.Name, first.Name, name)
		md.WriteString("| engine | median | p90 | to docker.io | CPU s | peak MiB | samples |\n|---|---|---|---|---|---|---|\n")
		for ; i < n; i++ {
			r := all[i]
			fmt.Fprintf(md, "| %s | %s | %s | %s | %s | %s | %d |\n", r.engine, r.median, r.p90, r.ratio, r.cpu, r.peak, len(b.All[i].Sample))
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
