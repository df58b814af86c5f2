package seccomp

import (
	"cmp"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// span is a verdict about all numbers from first up to the next span's.
type span struct {
	first   uint32
	verdict verdict
	wide    bool
}

// spans lists the verdicts of an ABI by number, with those in between.
func (a abi) spans(rules map[uint32]verdict, def uint32) (all []span) {
	all = append(all, span{first: a.bit, verdict: verdict{action: def}})
	last := a.bit
	for n, v := range rules {
		all = append(all, span{first: n, verdict: v, wide: a.wide})
		if _, ok := rules[n+1]; !ok {
			all = append(all, span{first: n + 1, verdict: verdict{action: def}})
		}
		if n < privateNumbers || a.bit != 0 {
			last = max(last, n)
		}
	}
	if def == allow || def == logged || len(rules) == 0 {
		return all
	}
	all = slices.DeleteFunc(all, func(s span) bool { return s.first == last+1 })
	all = append(all, span{first: last + 1, verdict: verdict{action: errno | uint32(unix.ENOSYS)}})
	end := ^uint32(0) // which a tracer leaves
	if a.name == x8664.name {
		end = x32Bit
	}
	return append(all, span{first: end, verdict: verdict{action: def}})
}

// merge orders spans and joins neighbours that say the same. Of several that
// begin at one number the last one counts.
func merge(all []span) (merged []span) {
	slices.SortStableFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i, s := range all {
		if i+1 < len(all) && all[i+1].first == s.first {
			continue
		}
		if n := len(merged); n > 0 && plain(merged[n-1], s) {
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

func plain(a, b span) bool {
	return a.verdict.action == b.verdict.action && len(a.verdict.alternatives) == 0 && len(b.verdict.alternatives) == 0
}

// code is a piece of a program; every path through it ends in a return.
type code []bpf.Instruction

// search finds the span of the number in the accumulator by halving.
func search(spans []span, def uint32) code {
	if len(spans) == 1 {
		return spans[0].verdict.code(spans[0].wide, def)
	}
	mid := len(spans) / 2
	low, high := search(spans[:mid], def), search(spans[mid:], def)
	c := atLeast(spans[mid].first, len(low))
	return append(append(c, low...), high...)
}

// maxSkip is how far a conditional jump reaches.
const maxSkip = 255

// atLeast skips n instructions when the accumulator is not below a value.
func atLeast(value uint32, n int) code {
	if n <= maxSkip {
		return code{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: value, SkipTrue: uint8(n)}}
	}
	return code{
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(n)}, //nolint:gosec // of a program's length
	}
}

// skipUnless skips n instructions when the accumulator is not a value.
func skipUnless(value uint32, n int) code {
	return code{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(n)}, //nolint:gosec // of a program's length
	}
}
