package spec

import (
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// InitTarget is where the init program appears in the container.
const InitTarget = "/sbin/docker-init"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (b *Builder) process(in Input, sec security) *specs.Process {
	score := in.Host.OomScoreAdj
	if !b.machine.RaiseLimits {
		score = max(score, b.machine.OOMScoreAdj) // the kernel would refuse it
	}
	p := &specs.Process{
		Terminal: in.Config.Tty,
		User:     in.User,
		Args:     in.Args,
		Env:      Env(in.Config, in.Hostname, in.Config.Tty, nil),
		Cwd:      in.Config.WorkingDir,
		// Without a value the OCI runtime leaves the daemon's own.
		OOMScoreAdj:     &score,
		NoNewPrivileges: sec.noNewPrivileges,
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	p.User.Umask = in.Host.Umask
	if in.Config.Tty && in.Host.ConsoleSize != [2]uint{} {
		p.ConsoleSize = &specs.Box{Height: in.Host.ConsoleSize[0], Width: in.Host.ConsoleSize[1]}
	}
	if in.InitPath != "" {
		p.Args = append([]string{InitTarget, "--"}, in.Args...)
	}
	return p
}

// Env is a process's environment: Docker's defaults, then the container's,
// then extra ones; later values replace earlier ones in place, and a name
// without "=" removes.
func Env(c *container.Config, hostname string, tty bool, extra []string) []string {
	env := []string{defaultPath, "HOSTNAME=" + hostname}
	if tty {
		env = append(env, "TERM=xterm")
	}
	for _, e := range slices.Concat(c.Env, extra) {
		name, _, set := strings.Cut(e, "=")
		i := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		switch {
		case set && i >= 0:
			env[i] = e
		case set:
			env = append(env, e)
		case i >= 0:
			env = slices.Delete(env, i, i+1)
		}
	}
	return env
}

// Exec makes the process object of an additional process in a container
// that Build would describe by in.
func (b *Builder) Exec(in Input, r container.ExecCreateRequest, user specs.User) (*specs.Process, error) {
	sec, err := parseSecurity(in.Host.SecurityOpt)
	if err != nil {
		return nil, err
	}
	p := b.process(in, sec)
	p.Terminal, p.Args, p.User = r.Tty, r.Cmd, user
	p.ConsoleSize = nil
	p.Env = Env(in.Config, in.Hostname, r.Tty, r.Env)
	if r.WorkingDir != "" {
		p.Cwd = r.WorkingDir
	}
	p.Rlimits, _ = b.rlimits(in.Host.Ulimits)
	h := *in.Host
	h.Privileged = h.Privileged || r.Privileged
	p.Capabilities, err = capabilities(&h, b.machine.Capabilities)
	return p, err
}

// rlimits converts --ulimit. Where the daemon may not raise hard limits, they
// are lowered to its own and a warning says so: better a container with fewer
// open files than none.
func (b *Builder) rlimits(ulimits []*units.Ulimit) (out []specs.POSIXRlimit, warnings []string) {
	for _, u := range ulimits {
		l := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)} //nolint:gosec // -1 is RLIM_INFINITY
		if number, ok := rlimitNumbers()[u.Name]; ok && !b.machine.RaiseLimits {
			if most, err := hardLimit(number); err == nil && l.Hard > most {
				warnings = append(warnings, "ulimit "+u.String()+" exceeds the daemon's own hard limit, which it may not raise without CAP_SYS_RESOURCE: lowered")
				l.Hard, l.Soft = most, min(l.Soft, most)
			}
		}
		out = append(out, l)
	}
	return out, warnings
}

func rlimitNumbers() map[string]int {
	return map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
		"sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}
}
