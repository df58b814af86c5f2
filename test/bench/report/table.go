package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/strakehq/strake/test/bench/measure"
)

// row is a line of the table.
type row struct {
	group, name, engine, median, p90, ratio, cpu, peak string
}

var head = row{"group", "what", "engine", "median", "p90", "to docker.io", "CPU s", "peak MiB"}

// rows are all series, with the ratio to docker.io's.
func rows(b *measure.Book) (list []row) {
	var group, name string
	for _, s := range b.All {
		m := measure.Median(s.Sample)
		r := row{s.Group, s.Name, s.Engine, number(m, s.Unit), number(measure.P90(s.Sample), s.Unit), "", "", ""}
		if base, ok := b.Median(s.Group, s.Name, docker); ok && base > 0 && m > 0 && s.Engine != docker {
			if s.Unit == "ms" || s.Unit == "MiB" {
				r.ratio = fmt.Sprintf("%.2f x", base/m)
			} else {
				r.ratio = fmt.Sprintf("%.2f x", m/base)
			}
		}
		if len(s.CPU) > 0 {
			r.cpu = fmt.Sprintf("%.3f", measure.Median(s.CPU))
		}
		if len(s.Peak) > 0 {
			r.peak = fmt.Sprintf("%.0f", measure.Median(s.Peak))
		}
		if s.Group == group && s.Name == name {
			r.group, r.name = "", ""
		}
		group, name = s.Group, s.Name
		list = append(list, r)
	}
	return list
}

// Table prints everything, and which goals are met.
func Table(w io.Writer, b *measure.Book, goals []Goal) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range append([]row{head}, rows(b)...) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.group, r.name, r.engine, r.median, r.p90, r.ratio, r.cpu, r.peak)
	}
	fmt.Fprintf(t, "\ngoal\t\t\tis\twanted\n")
	for _, g := range Judge(b, goals) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", g.Group, g.Text, g.Verdict, g.Is, g.Wanted)
	}
	return t.Flush()
}

// Judgement is a goal beside what was measured.
type Judgement struct {
	Group   string `json:"group"`
	Text    string `json:"text"`
	Wanted  string `json:"wanted"`
	Is      string `json:"is"`
	Verdict string `json:"verdict"` // "met", "missed", "not measured"
}

// Judge compares the goals with what was measured.
func Judge(b *measure.Book, goals []Goal) (list []Judgement) {
	for _, g := range goals {
		j := Judgement{Group: g.Group, Text: g.Text, Wanted: g.Wanted(), Is: "-", Verdict: "not measured"}
		if v, ok := g.Is(b); ok {
			j.Is, j.Verdict = number(v, g.Unit), "missed"
			if g.Met(v) {
				j.Verdict = "met"
			}
		}
		list = append(list, j)
	}
	return list
}
