// Package measure keeps what was measured: samples of one thing by one engine,
// processor time, memory.
package measure

import (
	"slices"
)

// Series are the samples of one measurement by one engine.
type Series struct {
	Group  string    `json:"group"`  // as in ONLY=
	Name   string    `json:"name"`   // what was done
	Engine string    `json:"engine"` // by whom
	Unit   string    `json:"unit"`   // of Samples: "ms", "MB/s", "1/s", "MiB"
	Sample []float64 `json:"samples"`
	// CPU are the seconds of processor time per sample that the engine and all
	// its children took, containers included. Empty: not measured.
	CPU []float64 `json:"cpuSeconds,omitempty"`
	// Peak is the largest memory of the engine's processes (PSS, MiB) during a
	// sample. Empty: not measured.
	Peak []float64 `json:"peakMiB,omitempty"`
}

// Median is the middle sample; 0 without samples.
func Median(s []float64) float64 { return quantile(s, 0.5) }

// P90 is the sample that nine of ten do not exceed.
func P90(s []float64) float64 { return quantile(s, 0.9) }

func quantile(s []float64, q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

// Book collects series in the order of their first samples.
type Book struct {
	All []*Series `json:"series"`
}

// Of finds a series, or makes it.
func (b *Book) Of(group, name, engine, unit string) *Series {
	if s := b.Find(group, name, engine); s != nil {
		return s
	}
	s := &Series{Group: group, Name: name, Engine: engine, Unit: unit}
	b.All = append(b.All, s)
	return s
}

// Find returns nil for what was not measured.
func (b *Book) Find(group, name, engine string) *Series {
	for _, s := range b.All {
		if s.Group == group && s.Name == name && s.Engine == engine {
			return s
		}
	}
	return nil
}

// Median of a series; ok is false when it has no samples.
func (b *Book) Median(group, name, engine string) (m float64, ok bool) {
	s := b.Find(group, name, engine)
	if s == nil || len(s.Sample) == 0 {
		return 0, false
	}
	return Median(s.Sample), true
}
