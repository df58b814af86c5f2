package seccomp

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	auditX8664 = uint32(0xc000003e) // AUDIT_ARCH_X86_64
	x32Bit     = uint32(0x40000000) // __X32_SYSCALL_BIT
	// privateNumbers is where ARM's system calls of its own begin, far beyond
	// all others.
	privateNumbers = uint32(0xf0000)
)

// abi is one way to call the kernel.
type abi struct {
	name  specs.Arch
	audit uint32         // AUDIT_ARCH_…, as the kernel tells it
	bit   uint32         // set in all numbers
	table map[string]int // numbers by name
	wide  bool           // arguments have 64 bits
}

var (
	x8664   = abiOf(specs.ArchX86_64, arch.X86_64, true)
	x86     = abiOf(specs.ArchX86, arch.I386, false)
	x32     = abiOf(specs.ArchX32, arch.X32, false)
	aarch64 = abiOf(specs.ArchAARCH64, arch.AARCH64, true)
	arm     = abiOf(specs.ArchARM, arch.ARM, false)
)

func abiOf(name specs.Arch, i *arch.Info, wide bool) abi {
	return abi{name: name, audit: uint32(i.ID), bit: uint32(i.SeccompMask), table: i.SyscallNames, wide: wide} //nolint:gosec // a bit
}

// machine lists the ABIs that a kernel offers, its own first.
type machine []abi

func native() machine {
	switch runtime.GOARCH {
	case "amd64":
		return machine{x8664, x86, x32}
	case "arm64":
		return machine{aarch64, arm}
	default:
		return nil
	}
}

// abis are those that a section lets in; the machine's own always is.
func (m machine) abis(names []specs.Arch) ([]abi, error) {
	if len(m) == 0 {
		return nil, fmt.Errorf("seccomp: machine %s: %w", runtime.GOARCH, ErrUnsupported)
	}
	in := []abi{m[0]}
	for _, n := range names {
		i := slices.IndexFunc(m, func(a abi) bool { return a.name == n })
		if i < 0 {
			return nil, fmt.Errorf("seccomp: architecture %s: %w", n, ErrUnsupported)
		}
		if !has(in, m[i]) {
			in = append(in, m[i])
		}
	}
	return in, nil
}

func has(abis []abi, a abi) bool {
	return slices.ContainsFunc(abis, func(b abi) bool { return b.name == a.name })
}

// audits are the architectures of ABIs, in order.
func (m machine) audits(abis []abi) (audits []uint32) {
	for _, a := range abis {
		if !slices.Contains(audits, a.audit) {
			audits = append(audits, a.audit)
		}
	}
	return audits
}

// number is a system call's; false: the ABI has none of that name.
func (a abi) number(name string) (uint32, bool) {
	n, ok := a.table[name]
	return uint32(n) | a.bit, ok //nolint:gosec // small
}
