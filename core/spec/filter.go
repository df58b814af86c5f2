package spec

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	profiles "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/seccomp"
)

// filter is a seccomp section, and the program that it comes to; "" when the
// OCI runtime has to compile it.
type filter struct {
	section *specs.LinuxSeccomp
	program string // base64
}

// maxFilters bounds what is kept: profiles come from clients.
const maxFilters = 64

// filter sets the seccomp filter for a profile and a set of capabilities.
func (b *Builder) filter(s *specs.Spec, sec security, privileged bool, caps []string) error {
	if sec.seccomp == unconfined || sec.seccomp == "" && privileged {
		return nil
	}
	f, err := b.filterFor(sec.seccomp, caps)
	if err != nil {
		return err
	}
	s.Linux.Seccomp = f.section
	if _, own := s.Annotations[seccomp.Annotation]; own || f.program == "" {
		return nil
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[seccomp.Annotation] = f.program
	return nil
}

func (b *Builder) filterFor(profile string, caps []string) (filter, error) {
	key := profile + "\x00" + join(caps)
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.filters[key]; ok {
		return f, nil
	}
	f, err := makeFilter(profile, caps, b.machine.X32)
	if err != nil {
		return filter{}, err
	}
	if len(b.filters) >= maxFilters {
		clear(b.filters)
	}
	b.filters[key] = f
	return f, nil
}

func makeFilter(profile string, caps []string, x32 bool) (f filter, err error) {
	// The profile's conditions ask for the bounding set.
	rs := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	if profile == "" {
		if f.section, err = profiles.GetDefaultProfile(rs); err != nil {
			return filter{}, fmt.Errorf("seccomp: default profile: %w", err)
		}
	} else if f.section, err = profiles.LoadProfile(profile, rs); err != nil {
		return filter{}, fmt.Errorf("seccomp: profile: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if f.section == nil {
		return f, nil
	}
	program, err := seccomp.Compile(f.section)
	if err != nil && !errors.Is(err, seccomp.ErrUnsupported) {
		return filter{}, err
	}
	f.program = base64.StdEncoding.EncodeToString(program)
	if profile == "" { // a client's own stays as it is
		f.section = seccomp.Quicken(f.section, x32)
	}
	return f, nil
}
