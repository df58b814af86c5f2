package config

import (
	"fmt"
	"time"

	units "github.com/docker/go-units"
)

// Size is a number of bytes, written as "20m" or "64KiB" (powers of 1024).
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := units.RAMInBytes(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a size, write for example "20m"`, text)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes the shortest exact form.
func (s Size) MarshalText() ([]byte, error) {
	n, unit := int64(s), ""
	for _, u := range []string{"k", "m", "g", "t"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return fmt.Appendf(nil, "%d%s", n, unit), nil
}

// Duration is a length of time, written as "10s" or "1m30s".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf(`%q is not a duration, write for example "10s"`, text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Ulimit is a resource limit, written as "nofile=1024:524288".
type Ulimit units.Ulimit

// UnmarshalText reads a limit in the docker command's notation.
func (u *Ulimit) UnmarshalText(text []byte) error {
	v, err := units.ParseUlimit(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a limit, write for example "nofile=1024:524288" (%w)`, text, err)
	}
	*u = Ulimit(*v)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (u Ulimit) MarshalText() ([]byte, error) {
	return []byte((*units.Ulimit)(&u).String()), nil
}
