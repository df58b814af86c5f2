// Package seccomp compiles the seccomp section of a runtime specification into
// the classic BPF program that the kernel takes. An OCI runtime needs a third
// to a half of a container's start for that, again and again for the same
// section; crun takes the finished program instead.
//
// The program decides as libseccomp's for the same section does, with what runc
// adds: a system call newer than all that the section names is answered with
// ENOSYS, so that the C library falls back to an older one.
package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Annotation is how crun (1.1 and later) is given a compiled program, encoded
// in base64. Others ignore it, and compile the section that it stands beside.
const Annotation = "run.oci.seccomp_bpf_data"

// ErrUnsupported says that the section uses what is not translated here. The
// OCI runtime is to compile it.
var ErrUnsupported = errors.New("not translated")

// Places in the kernel's struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// maxProgram is BPF_MAXINSNS.
const maxProgram = 4096

// Compile returns the program as an array of struct sock_filter in the byte
// order of the machine.
func Compile(s *specs.LinuxSeccomp) ([]byte, error) {
	program, err := compile(s, native())
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("seccomp: assemble: %w", err)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, raw); err != nil {
		return nil, fmt.Errorf("seccomp: encode: %w", err)
	}
	return b.Bytes(), nil
}

// compile translates the section for a machine.
func compile(s *specs.LinuxSeccomp, m machine) (code, error) {
	if len(s.Flags) > 0 || s.ListenerPath != "" {
		return nil, fmt.Errorf("seccomp: flags and listeners: %w", ErrUnsupported)
	}
	abis, err := m.abis(s.Architectures)
	if err != nil {
		return nil, err
	}
	def, err := action(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	program := code{bpf.LoadAbsolute{Off: offsetArch, Size: 4}}
	for _, audit := range m.audits(abis) {
		body := code{bpf.LoadAbsolute{Off: offsetNumber, Size: 4}}
		tree, err := numbers(s, def, abis, audit)
		if err != nil {
			return nil, err
		}
		body = append(body, tree...)
		program = append(program, skipUnless(audit, len(body))...)
		program = append(program, body...)
	}
	program = append(program, bpf.RetConstant{Val: killThread}) // another architecture
	if len(program) > maxProgram {
		return nil, fmt.Errorf("seccomp: %d instructions, the kernel takes %d: %w", len(program), maxProgram, ErrUnsupported)
	}
	return program, nil
}

// numbers decides by system call number for the ABIs of an architecture: x86-64
// has two, whose numbers differ by one bit.
func numbers(s *specs.LinuxSeccomp, def uint32, abis []abi, audit uint32) (code, error) {
	all := []span{{verdict: verdict{action: def}}}
	for _, a := range abis {
		if a.audit != audit {
			continue
		}
		rules, err := a.rules(s, def)
		if err != nil {
			return nil, err
		}
		all = append(all, a.spans(rules, def)...)
	}
	if audit == auditX8664 && !has(abis, x32) {
		// libseccomp lets -1, which a tracer leaves, through to the default.
		all = append(all, span{first: x32Bit, verdict: verdict{action: killThread}}, span{first: ^uint32(0), verdict: verdict{action: def}})
	}
	return search(merge(all), def), nil
}
