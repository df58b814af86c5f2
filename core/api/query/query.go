// Package query reads the query parameters of the Docker Engine API, whose
// spellings of numbers, times and truth are its own.
package query

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/filter"
)

// Values are a request's query parameters. Their errors are ErrInvalidArgument
// and name the parameter.
type Values struct{ url.Values }

// Of returns the parameters of a request. The server has refused malformed
// queries before.
func Of(r *http.Request) Values { return Values{r.URL.Query()} }

// Bool is false for a missing parameter and for "", 0, no, false and none.
func (v Values) Bool(name string) bool {
	switch strings.ToLower(strings.TrimSpace(v.Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// BoolOr is Bool with another answer for a missing parameter.
func (v Values) BoolOr(name string, missing bool) bool {
	if !v.Has(name) {
		return missing
	}
	return v.Bool(name)
}

// Int returns a number, or nil for a missing or empty parameter.
func (v Values) Int(name string) (*int, error) {
	s := v.Get(name)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, invalid(name, s, "want a number")
	}
	return &n, nil
}

// Cells returns a required terminal dimension.
func (v Values) Cells(name string) (uint16, error) {
	n, err := strconv.ParseUint(v.Get(name), 10, 16)
	if err != nil {
		return 0, invalid(name, v.Get(name), "want a number from 0 to 65535")
	}
	return uint16(n), nil
}

// Time returns a time given in seconds since 1970 with up to nine decimals;
// zero for a missing or empty parameter, and for 0.
func (v Values) Time(name string) (time.Time, error) {
	s := v.Get(name)
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, invalid(name, s, "want seconds since 1970")
	}
	var nanos uint64
	if frac != "" {
		frac = (frac + "000000000")[:9]
		if nanos, err = strconv.ParseUint(frac, 10, 32); err != nil {
			return time.Time{}, invalid(name, s, "want seconds since 1970")
		}
	}
	return time.Unix(sec, int64(nanos)).UTC(), nil
}

// Filters parses the filters parameter; only names in known are allowed.
func (v Values) Filters(known ...string) (filter.Args, error) {
	return filter.Parse(v.Get("filters"), known...)
}

func invalid(name, value, mend string) error {
	return fmt.Errorf("invalid value %q for %q: %s: %w", value, name, mend, errdefs.ErrInvalidArgument)
}
