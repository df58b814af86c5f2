package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Error is an answer that is an error, or a failed exchange (Status 0). Its
// text never holds an URL, since queries may be signed, nor a header.
type Error struct {
	Host   string
	Status int
	// Code is the first error code of the OCI distribution specification in
	// the answer, such as MANIFEST_UNKNOWN.
	Code  string
	text  string
	class error
	after time.Duration
	retry bool
}

func (e *Error) Error() string { return e.Host + ": " + e.text }

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.class }

// Passing says whether repeating may help.
func Passing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.retry
}

// Answered says whether a registry was reached and gave the error.
func Answered(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != 0
}

const (
	maxErrorBody = 64 << 10
	maxErrorText = 300
)

// failure reads an error answer and closes it.
func (c *Client) failure(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		body = nil // the status says enough
	}
	return c.statusError(resp.StatusCode, resp.Header, body)
}

func (c *Client) statusError(status int, h http.Header, body []byte) *Error {
	e := &Error{Host: c.ep.Host, Status: status, class: classOf(status), after: retryAfter(h)}
	var parsed struct{ Errors []transport.Diagnostic }
	if json.Unmarshal(body, &parsed) == nil && len(parsed.Errors) > 0 {
		d := parsed.Errors[0]
		e.Code = clean(string(d.Code))
		e.text = fmt.Sprintf("%s: %s", strings.ReplaceAll(strings.ToLower(e.Code), "_", " "), clean(d.Message))
	} else {
		e.text = fmt.Sprintf("HTTP %d %s", status, http.StatusText(status))
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.retry = true
	}
	return e
}

func classOf(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case status == http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case status == http.StatusNotFound:
		return errdefs.ErrNotFound
	case status == http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case status == http.StatusRequestedRangeNotSatisfiable:
		return errdefs.ErrOutOfRange
	case status == http.StatusRequestTimeout || status >= 500:
		return errdefs.ErrUnavailable
	case status >= 400:
		return errdefs.ErrInvalidArgument
	default:
		return errdefs.ErrUnknown
	}
}

// transportError is an exchange that failed below HTTP.
func (c *Client) transportError(err, cause error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	host := c.ep.Host
	var ue *url.Error
	if errors.As(err, &ue) {
		if u, perr := url.Parse(ue.URL); perr == nil && u.Host != "" && u.Host != c.ep.Base.Host {
			host += " (redirected to " + u.Host + ")"
		}
		err = ue.Err
	}
	if cause != nil && !errors.Is(cause, context.Canceled) && errors.Is(err, context.Canceled) {
		err = cause
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !isNetTimeout(err) {
		return fmt.Errorf("%s: %w", host, err)
	}
	return &Error{Host: host, text: "not reachable: " + err.Error(), class: errdefs.ErrUnavailable, retry: worthRetry(err)}
}

func isNetTimeout(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// worthRetry: a registry that refuses connections, has no name or no valid
// certificate will not mend within seconds; a broken connection will.
func worthRetry(err error) bool {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		// One that does not answer was asked several times by the resolver,
		// for five seconds each.
		return dns.IsTemporary && !dns.IsNotFound && !dns.IsTimeout
	case errors.Is(err, errStalled), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	default:
		return strings.Contains(err.Error(), "http2: ") || strings.Contains(err.Error(), "server closed idle connection")
	}
}

const maxPause = 30 * time.Second

// Pause waits before repetition number attempt+1: as long as the registry
// asked for, else exponentially longer with jitter.
func (c *Client) Pause(ctx context.Context, attempt int, err error) error {
	d := min(c.pool.settings.Backoff<<min(attempt, 10), maxPause)
	d += rand.N(d/2 + 1) //nolint:gosec // jitter is no secret
	var e *Error
	if errors.As(err, &e) && e.after > d {
		d = min(e.after, maxPause)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads the header, up to an hour; 0 when it says nothing of use.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if s, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(s, 3600)) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = time.Until(t)
	}
	return max(0, min(d, time.Hour))
}

// clean makes text of a stranger fit for a terminal.
func clean(s string) string {
	if len(s) > maxErrorText {
		s = s[:maxErrorText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
}
