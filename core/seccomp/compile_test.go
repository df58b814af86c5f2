package seccomp

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	profile "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a system call as a program sees it.
type call struct {
	audit, number uint32
	args          [6]uint64
}

// meaning reads off the section what is to become of a call.
func meaning(s *specs.LinuxSeccomp, m machine, c call) uint32 {
	def, err := action(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		panic(err)
	}
	abis, err := m.abis(s.Architectures)
	if err != nil {
		panic(err)
	}
	i := slices.IndexFunc(abis, func(a abi) bool {
		return a.audit == c.audit && (a.audit != auditX8664 || (a.bit != 0) == (c.number >= x32Bit) || c.number == ^uint32(0))
	})
	if i < 0 {
		return killThread
	}
	a := abis[i]
	named := map[uint32]bool{}
	for _, call := range s.Syscalls {
		act, err := action(call.Action, call.ErrnoRet)
		if err != nil {
			panic(err)
		}
		for _, name := range call.Names {
			n, ok := a.number(name)
			if !ok || act == def {
				continue
			}
			named[n] = true
			if n == c.number && fits(call.Args, c.args, a.wide) {
				return act
			}
		}
	}
	if def != allow && def != logged && c.number != ^uint32(0) && newer(named, c.number) {
		return errno | uint32(unix.ENOSYS)
	}
	return def
}

func newer(named map[uint32]bool, number uint32) bool {
	last, gap := uint32(0), false
	for n := range named {
		if n&^x32Bit < privateNumbers {
			last = max(last, n)
		} else if number >= n {
			gap = true // among ARM's own
		}
	}
	return len(named) > 0 && number > last && !gap
}

func fits(conditions []specs.LinuxSeccompArg, args [6]uint64, wide bool) bool {
	if len(conditions) == 0 {
		return true
	}
	hold := 0
	for _, c := range conditions {
		if holds(c, args[c.Index], wide) {
			hold++
		}
	}
	if repeats(conditions) {
		return hold > 0
	}
	return hold == len(conditions)
}

func holds(c specs.LinuxSeccompArg, arg uint64, wide bool) bool {
	value, two := c.Value, c.ValueTwo
	if !wide {
		arg, value, two = arg&0xffffffff, value&0xffffffff, two&0xffffffff
	}
	switch c.Op {
	case specs.OpEqualTo:
		return arg == value
	case specs.OpNotEqual:
		return arg != value
	case specs.OpLessThan:
		return arg < value
	case specs.OpLessEqual:
		return arg <= value
	case specs.OpGreaterThan:
		return arg > value
	case specs.OpGreaterEqual:
		return arg >= value
	case specs.OpMaskedEqual:
		return arg&value == two
	default:
		panic(c.Op)
	}
}

// run has the program decide.
func run(t *testing.T, vm *bpf.VM, c call) uint32 {
	t.Helper()
	var data [64]byte // the VM reads big-endian words
	binary.BigEndian.PutUint32(data[offsetNumber:], c.number)
	binary.BigEndian.PutUint32(data[offsetArch:], c.audit)
	for i, a := range c.args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	got, err := vm.Run(data[:])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

// interesting are numbers and argument values at which decisions may change.
func interesting(s *specs.LinuxSeccomp) (numbers []uint32, values []uint64) {
	set := map[uint32]bool{^uint32(0): true, ^uint32(0) - 1: true, x32Bit: true, x32Bit - 1: true, privateNumbers: true, 0x80000000: true}
	for n := range uint32(1024) {
		for _, base := range []uint32{0, x32Bit, privateNumbers} {
			set[base+n] = true
		}
	}
	args := map[uint64]bool{0: true, ^uint64(0): true}
	for _, c := range s.Syscalls {
		for _, a := range c.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo, ^a.Value} {
				for _, d := range []uint64{0, 1, ^uint64(0), 1 << 32, 1 << 63} {
					args[v+d] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(args))
}

// prove compares program and section wherever they could differ.
func prove(t *testing.T, s *specs.LinuxSeccomp, m machine) {
	t.Helper()
	program, err := compile(s, m)
	if err != nil {
		t.Fatal(err)
	}
	proveProgram(t, program, m, s, func(c call) uint32 { return meaning(s, m, c) })
}

// proveProgram compares a program with what is to become of calls, wherever a
// section could tell them apart.
func proveProgram(t *testing.T, program []bpf.Instruction, m machine, s *specs.LinuxSeccomp, meaning func(call) uint32) {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	conditional := map[uint32]bool{} // numbers whose arguments matter
	for _, a := range m {
		for _, c := range s.Syscalls {
			for _, name := range c.Names {
				if n, ok := a.number(name); ok && len(c.Args) > 0 {
					conditional[n] = true
				}
			}
		}
	}
	numbers, values := interesting(s)
	random := rand.New(rand.NewPCG(1, 2))
	compared := 0
	for _, audit := range append(m.audits(m), 0xc000beef) {
		for _, n := range numbers {
			c := call{audit: audit, number: n}
			tries := [][6]uint64{{}}
			if conditional[n] {
				tries = arguments6(compared6(s), values, random)
			}
			for _, c.args = range tries {
				compared++
				if got, want := run(t, vm, c), meaning(c); got != want {
					t.Fatalf("%+v: program %#x, section %#x", c, got, want)
				}
			}
		}
	}
	t.Logf("%d instructions, %d calls compared", len(program), compared)
}

// compared6 are the arguments that any condition looks at.
func compared6(s *specs.LinuxSeccomp) []uint {
	set := map[uint]bool{}
	for _, c := range s.Syscalls {
		for _, a := range c.Args {
			set[a.Index] = true
		}
	}
	return slices.Collect(maps.Keys(set))
}

// arguments6 sets each of some arguments to each value, with the others at
// random.
func arguments6(indices []uint, values []uint64, random *rand.Rand) (all [][6]uint64) {
	for _, i := range indices {
		for _, v := range values {
			var a [6]uint64
			for j := range a {
				a[j] = values[random.IntN(len(values))]
			}
			a[i] = v
			all = append(all, a)
		}
	}
	return all
}

func machines() map[string]machine {
	return map[string]machine{"amd64": {x8664, x86, x32}, "arm64": {aarch64, arm}}
}

func TestDockersProfile(t *testing.T) {
	for name, m := range machines() {
		for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN", "CAP_BPF"}} {
			t.Run(fmt.Sprint(name, caps), func(t *testing.T) {
				s, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
				if err != nil {
					t.Fatal(err)
				}
				s.Architectures = nil // those of the machine that runs the test
				for _, a := range m[1:] {
					s.Architectures = append(s.Architectures, a.name)
				}
				prove(t, s, m)
				s.Architectures = nil
				prove(t, s, m)
			})
		}
	}
}

func TestRandomSections(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	ops := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpMaskedEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
	}
	values := []uint64{0, 1, 5, 1 << 31, 1 << 32, 1<<32 | 5, ^uint64(0), 0xffffffff}
	names := []string{"read", "write", "open", "openat", "clone", "personality", "keyctl", "mseal"}
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActLog, specs.ActTrap}
	for range 60 {
		s := &specs.LinuxSeccomp{DefaultAction: actions[random.IntN(len(actions))], Architectures: []specs.Arch{specs.ArchX86}}
		act := actions[random.IntN(len(actions))]
		for range 1 + random.IntN(6) {
			c := specs.LinuxSyscall{Names: []string{names[random.IntN(len(names))]}, Action: act}
			for range random.IntN(4) {
				c.Args = append(c.Args, specs.LinuxSeccompArg{
					Index: uint(random.IntN(6)), Op: ops[random.IntN(len(ops))],
					Value: values[random.IntN(len(values))], ValueTwo: values[random.IntN(len(values))],
				})
			}
			s.Syscalls = append(s.Syscalls, c)
		}
		prove(t, s, machines()["amd64"])
	}
}

func TestSectionsLeftToTheRuntime(t *testing.T) {
	allowed := func(edit func(*specs.LinuxSeccomp)) *specs.LinuxSeccomp {
		s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow}}}
		edit(s)
		return s
	}
	for name, s := range map[string]*specs.LinuxSeccomp{
		"flags":    allowed(func(s *specs.LinuxSeccomp) { s.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog} }),
		"listener": allowed(func(s *specs.LinuxSeccomp) { s.ListenerPath = "/run/x" }),
		"notify":   allowed(func(s *specs.LinuxSeccomp) { s.Syscalls[0].Action = specs.ActNotify }),
		"foreign":  allowed(func(s *specs.LinuxSeccomp) { s.Architectures = []specs.Arch{specs.ArchS390X} }),
		"two actions": allowed(func(s *specs.LinuxSeccomp) {
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActLog})
		}),
		"part of socketcall": allowed(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Names, s.Architectures = []string{"connect"}, []specs.Arch{specs.ArchX86}
		}),
		"unknown comparison": allowed(func(s *specs.LinuxSeccomp) { s.Syscalls[0].Args = []specs.LinuxSeccompArg{{Op: "SCMP_CMP_ODD"}} }),
		"seventh argument": allowed(func(s *specs.LinuxSeccomp) {
			s.Syscalls[0].Args = []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compile(s, machines()["amd64"]); !errors.Is(err, ErrUnsupported) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	s, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Compile(s); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAQuickenedSectionMeansTheSame(t *testing.T) {
	m := native()
	if m == nil {
		t.Skip("no ABI of this machine is known")
	}
	for _, withX32 := range []bool{true, false} {
		for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN", "CAP_BPF"}} {
			t.Run(fmt.Sprint(withX32, caps), func(t *testing.T) {
				s, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
				if err != nil {
					t.Fatal(err)
				}
				q := Quicken(s, withX32)
				if withX32 != slices.Contains(q.Architectures, specs.ArchX32) && m[0].name == specs.ArchX86_64 {
					t.Errorf("architectures %v", q.Architectures)
				}
				program, err := compile(q, m)
				if err != nil {
					t.Fatal(err)
				}
				proveProgram(t, program, m, s, func(c call) uint32 {
					if !withX32 && c.audit == auditX8664 && c.number >= x32Bit && c.number != ^uint32(0) {
						return killThread
					}
					return meaning(s, m, c)
				})
			})
		}
	}
}

func TestRulesWhoseOrderMayCountStay(t *testing.T) {
	errnoRet := uint(7)
	for name, rules := range map[string][]specs.LinuxSyscall{
		"two answers":             {{Names: []string{"read", "write"}, Action: specs.ActAllow}, {Names: []string{"write"}, Action: specs.ActKill}},
		"two numbers":             {{Names: []string{"read"}, Action: specs.ActErrno}, {Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &errnoRet}},
		"with and without a look": {{Names: []string{"read"}, Action: specs.ActAllow}, {Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo}}}},
	} {
		if q := Quicken(&specs.LinuxSeccomp{Syscalls: rules}, false); !reflect.DeepEqual(q.Syscalls, rules) {
			t.Errorf("%s: %v", name, q.Syscalls)
		}
	}
}

// TestKernelHasX32 compares with what the kernel was built with, where it tells.
func TestKernelHasX32(t *testing.T) {
	has := KernelHasX32()
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if built := bytes.Contains(text, []byte("\nCONFIG_X86_X32_ABI=y\n")); has && !built {
		t.Error("the kernel was built without x32, and is said to have it")
	}
}
