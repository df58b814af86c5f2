package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What a program answers, SECCOMP_RET_….
const (
	killThread  = uint32(0)
	killProcess = uint32(0x80000000)
	trap        = uint32(0x00030000)
	errno       = uint32(0x00050000)
	tracing     = uint32(0x7ff00000)
	logged      = uint32(0x7ffc0000)
	allow       = uint32(0x7fff0000)

	maxErrno = 4095
)

// action translates an action and the number that goes with some.
func action(a specs.LinuxSeccompAction, ret *uint) (uint32, error) {
	number := uint32(unix.EPERM)
	if ret != nil {
		number = uint32(min(*ret, maxErrno)) //nolint:gosec // bounded
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return killThread, nil
	case specs.ActKillProcess:
		return killProcess, nil
	case specs.ActTrap:
		return trap, nil
	case specs.ActErrno:
		return errno | number, nil
	case specs.ActTrace:
		return tracing | number, nil
	case specs.ActLog:
		return logged, nil
	case specs.ActAllow:
		return allow, nil
	default:
		return 0, fmt.Errorf("seccomp: action %s: %w", a, ErrUnsupported)
	}
}

// verdict is what is decided about a system call: action when one of the
// alternatives fits its arguments, or when there are none.
type verdict struct {
	action       uint32
	alternatives [][]specs.LinuxSeccompArg // or, of and
}

// rules gathers what a section says of each system call of an ABI.
func (a abi) rules(s *specs.LinuxSeccomp, def uint32) (map[uint32]verdict, error) {
	rules := map[uint32]verdict{}
	for _, call := range s.Syscalls {
		act, err := action(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, err
		}
		if act == def {
			continue
		}
		if err := known(call.Args); err != nil {
			return nil, err
		}
		for _, name := range call.Names {
			n, ok := a.number(name)
			if !ok {
				continue
			}
			old, again := rules[n]
			if again && old.action != act {
				return nil, fmt.Errorf("seccomp: different actions for %s: %w", name, ErrUnsupported)
			}
			rules[n] = verdict{action: act, alternatives: join(old, again, call.Args)}
		}
	}
	return rules, a.checkBundled(s, rules)
}

// join adds the conditions of another rule for the same system call. A rule
// without conditions makes the others vain.
func join(old verdict, again bool, args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	if len(args) == 0 || again && len(old.alternatives) == 0 {
		return nil
	}
	if repeats(args) { // which no call could fulfil: runc and crun take them as alternatives
		for _, arg := range args {
			old.alternatives = append(old.alternatives, []specs.LinuxSeccompArg{arg})
		}
		return old.alternatives
	}
	return append(old.alternatives, args)
}

// known refuses conditions that are not translated.
func known(args []specs.LinuxSeccompArg) error {
	for _, a := range args {
		switch a.Op {
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpMaskedEqual,
			specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual:
		default:
			return fmt.Errorf("seccomp: comparison %s: %w", a.Op, ErrUnsupported)
		}
		if a.Index >= arguments {
			return fmt.Errorf("seccomp: argument %d: %w", a.Index, ErrUnsupported)
		}
	}
	return nil
}

// arguments is how many a system call has.
const arguments = 6

func repeats(args []specs.LinuxSeccompArg) bool {
	var seen [arguments]bool
	for _, a := range args {
		if seen[a.Index] {
			return true
		}
		seen[a.Index] = true
	}
	return false
}

// bundled are the system calls through which 32-bit x86 does many, by the
// first argument. libseccomp has rules about the latter decide about the former.
var bundled = map[string][]string{
	"socketcall": {
		"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
		"recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	},
	"ipc": {
		"semop", "semget", "semctl", "semtimedop", "msgsnd", "msgrcv", "msgget", "msgctl", "shmat", "shmdt", "shmget", "shmctl",
	},
}

// checkBundled refuses sections where that makes a difference, which Docker's
// profile, that has these pass, does not.
func (a abi) checkBundled(s *specs.LinuxSeccomp, rules map[uint32]verdict) error {
	for bundle, parts := range bundled {
		n, ok := a.number(bundle)
		if !ok || a.wide {
			continue
		}
		v, ok := rules[n]
		for _, call := range s.Syscalls {
			act, err := action(call.Action, call.ErrnoRet)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(call.Names, func(n string) bool { return slices.Contains(parts, n) }) &&
				(!ok || v.action != act || len(v.alternatives) > 0) {
				return fmt.Errorf("seccomp: parts of %s: %w", bundle, ErrUnsupported)
			}
		}
	}
	return nil
}
