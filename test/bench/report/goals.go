// Package report says what was measured: a table, plots, raw samples, and which
// goals are met.
package report

import (
	"fmt"

	"github.com/strakehq/strake/test/bench/measure"
)

// Goal is a number that Strake wants to keep.
type Goal struct {
	Group, Text string
	// Is computes the number; ok is false when a part was not measured.
	Is   func(*measure.Book) (value float64, ok bool)
	Unit string
	// Least says that larger is better; else Want is the most.
	Least bool
	Want  float64
}

// Met says whether a value reaches the goal.
func (g Goal) Met(value float64) bool {
	if g.Least {
		return value >= g.Want
	}
	return value <= g.Want
}

// Wanted is the goal in words.
func (g Goal) Wanted() string {
	if g.Least {
		return "at least " + number(g.Want, g.Unit)
	}
	return "at most " + number(g.Want, g.Unit)
}

type of struct{ group, name, engine string }

func median(b *measure.Book, o of) (float64, bool) { return b.Median(o.group, o.name, o.engine) }

// times is how many times as fast a is as b, by time; or as much, by rate.
func times(a, b of, rate bool) func(*measure.Book) (float64, bool) {
	return func(book *measure.Book) (float64, bool) {
		x, okX := median(book, a)
		y, okY := median(book, b)
		if !okX || !okY || x == 0 || y == 0 {
			return 0, false
		}
		if rate {
			return x / y, true
		}
		return y / x, true
	}
}

// more is by how much a is above b.
func more(a, b of) func(*measure.Book) (float64, bool) {
	return func(book *measure.Book) (float64, bool) {
		x, okX := median(book, a)
		y, okY := median(book, b)
		return x - y, okX && okY
	}
}

func just(a of) func(*measure.Book) (float64, bool) {
	return func(book *measure.Book) (float64, bool) { return median(book, a) }
}

// percentMore is by how many per cent a is above b.
func percentMore(a, b of) func(*measure.Book) (float64, bool) {
	return func(book *measure.Book) (float64, bool) {
		x, okX := median(book, a)
		y, okY := median(book, b)
		if !okX || !okY || y == 0 {
			return 0, false
		}
		return (x/y - 1) * 100, true
	}
}

// cpuShare is a's processor time in parts of b's.
func cpuShare(a, b of) func(*measure.Book) (float64, bool) {
	return func(book *measure.Book) (float64, bool) {
		x, y := book.Find(a.group, a.name, a.engine), book.Find(b.group, b.name, b.engine)
		if x == nil || y == nil || measure.Median(y.CPU) == 0 {
			return 0, false
		}
		return measure.Median(x.CPU) / measure.Median(y.CPU), true
	}
}

const (
	strake = "strake"
	crun   = "strake, crun"
	byCLI  = "strake by docker CLI"
	docker = "docker.io"
)

func ratio(group, name, engine string, want float64) Goal {
	return Goal{
		Group: group, Text: fmt.Sprintf("%s: %s, times docker.io's speed", name, engine), Unit: "x", Least: true, Want: want,
		Is: times(of{group, name, engine}, of{group, name, docker}, false),
	}
}

func rate(group, name string, want float64) Goal {
	g := ratio(group, name, strake, want)
	g.Is = times(of{group, name, strake}, of{group, name, docker}, true)
	return g
}

func above(group, name, engine, floor string, want float64) Goal {
	return Goal{
		Group: group, Text: fmt.Sprintf("%s: %s, above %s", name, engine, floor), Unit: "ms", Want: want,
		Is: more(of{group, name, engine}, of{group, name, floor}),
	}
}

func most(group, name, engine, unit string, want float64) Goal {
	return Goal{Group: group, Text: name + ": " + engine, Unit: unit, Want: want, Is: just(of{group, name, engine})}
}

func number(v float64, unit string) string {
	switch {
	case unit == "x":
		return fmt.Sprintf("%.2f x", v)
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 100 || v == float64(int(v)):
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}
