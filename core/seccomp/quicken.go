package seccomp

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Quicken returns a section that libseccomp compiles in less time than s, for
// OCI runtimes that take no program. It means the same, but for one thing where
// the kernel has no x32 ABI (withX32): a call by an x32 number, which such a
// kernel does not know anyway, ends the thread.
//
// libseccomp keeps calls in lists, one for each ABI, and walks them for each
// that it adds: an ABI less is a third less of them, and those that are added
// with falling numbers come to the head of their list.
func Quicken(s *specs.LinuxSeccomp, withX32 bool) *specs.LinuxSeccomp {
	q := *s
	if !withX32 {
		q.Architectures = slices.DeleteFunc(slices.Clone(s.Architectures), func(a specs.Arch) bool { return a == specs.ArchX32 })
	}
	if m := native(); len(m) > 0 && !ambiguous(s.Syscalls) {
		q.Syscalls = gather(s.Syscalls, m[0])
	}
	return &q
}

// ambiguous says that the order of rules may count, because a system call is
// named by two that differ in what is to be done.
func ambiguous(rules []specs.LinuxSyscall) bool {
	first := map[string]specs.LinuxSyscall{}
	for _, r := range rules {
		for _, name := range r.Names {
			f, again := first[name]
			if again && (!alike(f, r) || len(f.Args) == 0 != (len(r.Args) == 0)) {
				return true
			}
			first[name] = r
		}
	}
	return false
}

// alike says that two rules answer the same.
func alike(a, b specs.LinuxSyscall) bool {
	if a.Action != b.Action || (a.ErrnoRet == nil) != (b.ErrnoRet == nil) {
		return false
	}
	return a.ErrnoRet == nil || *a.ErrnoRet == *b.ErrnoRet
}

// gather makes one rule of all that answer the same without looking at
// arguments, and orders its names by their numbers, the largest first.
func gather(rules []specs.LinuxSyscall, a abi) (gathered []specs.LinuxSyscall) {
	number := func(name string) int {
		n, ok := a.table[name]
		if !ok {
			return -1 // another ABI's
		}
		return n
	}
	for _, r := range rules {
		i := -1
		if len(r.Args) == 0 {
			i = slices.IndexFunc(gathered, func(g specs.LinuxSyscall) bool { return len(g.Args) == 0 && alike(g, r) })
		}
		if i < 0 {
			r.Names = slices.Clone(r.Names)
			gathered = append(gathered, r)
			continue
		}
		gathered[i].Names = append(gathered[i].Names, r.Names...)
	}
	for _, g := range gathered {
		slices.SortStableFunc(g.Names, func(x, y string) int { return cmp.Compare(number(y), number(x)) })
	}
	return gathered
}
