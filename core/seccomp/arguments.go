package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// code decides about one system call.
func (v verdict) code(wide bool, def uint32) code {
	if len(v.alternatives) == 0 {
		return code{bpf.RetConstant{Val: v.action}}
	}
	var c code
	for _, args := range v.alternatives {
		c = append(c, alternative(args, wide, v.action)...)
	}
	return append(c, bpf.RetConstant{Val: def})
}

// alternative returns the action when all conditions hold, and goes on behind
// itself when one does not.
func alternative(args []specs.LinuxSeccompArg, wide bool, action uint32) code {
	c := code{bpf.RetConstant{Val: action}}
	for i := len(args) - 1; i >= 0; i-- {
		c = append(condition(args[i], wide, len(c)), c...)
	}
	return c
}

// Where a test goes.
type target int

const (
	next target = iota // to the instruction behind it
	pass               // behind the condition: it holds
	fail               // behind the alternative
)

// test is one comparison of the accumulator, which is loaded first and masked.
type test struct {
	offset  uint32
	mask    uint32
	cond    bpf.JumpTest
	value   uint32
	yes, no target
}

// condition goes on behind itself when it holds, and else skips rest more
// instructions.
func condition(a specs.LinuxSeccompArg, wide bool, rest int) (c code) {
	tests := testsOf(a, wide)
	for i, t := range tests {
		c = append(c, bpf.LoadAbsolute{Off: t.offset, Size: 4})
		if t.mask != ^uint32(0) {
			c = append(c, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask})
		}
		behind := 0
		for _, later := range tests[i+1:] {
			behind += later.length()
		}
		skip := map[target]int{next: 0, pass: behind, fail: behind + rest}
		c = append(c, bpf.JumpIf{Cond: t.cond, Val: t.value, SkipTrue: uint8(skip[t.yes]), SkipFalse: uint8(skip[t.no])}) //nolint:gosec // at most six conditions of six instructions
	}
	return c
}

func (t test) length() int {
	if t.mask != ^uint32(0) {
		return 3
	}
	return 2
}

// testsOf compares an argument, its upper half first. The 32-bit ABIs have
// lower halves only, as libseccomp sees it.
func testsOf(a specs.LinuxSeccompArg, wide bool) []test {
	want, mask := a.Value, ^uint64(0)
	if a.Op == specs.OpMaskedEqual {
		want, mask = a.ValueTwo, a.Value
	}
	low := test{offset: offsetArgs + 8*uint32(a.Index), mask: uint32(mask), value: uint32(want)} //nolint:gosec // halves
	high := test{offset: low.offset + 4, mask: uint32(mask >> 32), value: uint32(want >> 32)}    //nolint:gosec // halves
	switch a.Op {
	case specs.OpNotEqual:
		high.cond, high.yes, high.no = bpf.JumpEqual, next, pass
		low.cond, low.yes, low.no = bpf.JumpEqual, fail, pass
	case specs.OpLessThan:
		return ordered(high, low, bpf.JumpGreaterOrEqual, fail, pass, wide)
	case specs.OpLessEqual:
		return ordered(high, low, bpf.JumpGreaterThan, fail, pass, wide)
	case specs.OpGreaterEqual:
		return ordered(high, low, bpf.JumpGreaterOrEqual, pass, fail, wide)
	case specs.OpGreaterThan:
		return ordered(high, low, bpf.JumpGreaterThan, pass, fail, wide)
	default: // equal, masked or not
		high.cond, high.yes, high.no = bpf.JumpEqual, next, fail
		low.cond, low.yes, low.no = bpf.JumpEqual, pass, fail
	}
	return halves(wide, low, high)
}

// halves drops what need not be looked at.
func halves(wide bool, low test, high ...test) []test {
	if !wide {
		return []test{low}
	}
	return append(high, low)
}

// ordered goes to beyond when the argument is above the value, or at least it,
// as cond says of the lower halves, and to within when it is not.
func ordered(high, low test, cond bpf.JumpTest, beyond, within target, wide bool) []test {
	above := high
	above.cond, above.yes, above.no = bpf.JumpGreaterThan, beyond, next
	high.cond, high.yes, high.no = bpf.JumpEqual, next, within
	low.cond, low.yes, low.no = cond, beyond, within
	return halves(wide, low, above, high)
}
