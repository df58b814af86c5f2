package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

const maxRedirects = 5

// Request is one request to an endpoint.
type Request struct {
	Method string
	// Path below the API's base, or, when URL is set, ignored.
	Path  string
	Query url.Values
	// URL is an absolute address that the registry gave out (an upload's
	// location, a next page). Credentials go with it only to the endpoint's
	// own host.
	URL    *url.URL
	Header http.Header
	// Body is sent once; a request with a body is never repeated unless
	// Rewind makes it anew.
	Body   io.Reader
	Rewind func() io.Reader
	Length int64
	// Scopes are asked of a token service.
	Scopes []string
	// Credentials given with the call; empty means those of the machine's
	// configuration.
	Credentials registry.Credentials
	// OK are the statuses that are no error.
	OK []int
	// Document: the answer is small, and has to be there whole within the
	// stall timeout.
	Document bool
}

// Client sends requests to one endpoint. It is safe for concurrent use.
type Client struct {
	pool *Pool
	ep   hosts.Endpoint
	own  *http.Transport
	http *http.Client

	mu     sync.Mutex
	base   *url.URL         // guarded by mu; nil until probed
	grants map[string]grant // guarded by mu; by scope and credentials

	exchange chan struct{} // held while a token is asked for
}

func newClient(p *Pool, e hosts.Endpoint) *Client {
	c := &Client{
		pool: p, ep: e, own: p.transport(e),
		grants: map[string]grant{}, exchange: make(chan struct{}, 1),
	}
	c.http = &http.Client{Transport: c, CheckRedirect: c.checkRedirect}
	return c
}

// Endpoint returns what the client speaks to.
func (c *Client) Endpoint() hosts.Endpoint { return c.ep }

// checkRedirect bounds redirects and strips what is for the first host only.
// net/http would let a subdomain keep the credentials.
func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	first := via[0].URL
	if first.Scheme == "https" && r.URL.Scheme != "https" {
		return errors.New("redirect from https to " + r.URL.Scheme + " refused")
	}
	if r.URL.Host != first.Host {
		r.Header.Del("Authorization")
		for k := range c.ep.Header {
			r.Header.Del(k)
		}
	}
	r.Header.Del("Referer") // a signed URL is a secret
	return nil
}

// Do sends a request, repeating it after passing failures. The caller closes
// the response's body. Errors carry a class of errdefs.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.once(ctx, r)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil || attempt >= c.pool.settings.Retries || r.Body != nil && r.Rewind == nil || !Passing(err) {
			return nil, err
		}
		if werr := c.Pause(ctx, attempt, err); werr != nil {
			return nil, errors.Join(err, werr)
		}
	}
}

func (c *Client) once(ctx context.Context, r Request) (*http.Response, error) {
	base, err := c.address(ctx)
	if err != nil {
		return nil, err
	}
	target := c.target(base, r)
	for refused := false; ; refused = true {
		auth := c.authorization(r, target)
		resp, err := c.send(ctx, r, target, auth)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.OK, resp.StatusCode) {
			return resp, nil
		}
		if resp.StatusCode == http.StatusUnauthorized && isFrom(resp, base) && !refused && (r.Body == nil || r.Rewind != nil) {
			if err := c.answerChallenge(ctx, r, resp, auth); err != nil {
				return nil, err
			}
			continue
		}
		return nil, c.failure(resp)
	}
}

// isFrom says whether the endpoint itself gave the answer. Another host, to which
// it redirected, may not ask for the endpoint's credentials.
func isFrom(resp *http.Response, base *url.URL) bool { return resp.Request.URL.Host == base.Host }

func (c *Client) target(base *url.URL, r Request) *url.URL {
	if r.URL != nil {
		return r.URL
	}
	u := *base
	u.Path = strings.TrimRight(u.Path, "/") + "/" + strings.TrimPrefix(r.Path, "/")
	q := url.Values{}
	for k, v := range r.Query {
		q[k] = v
	}
	if c.ep.Mirror {
		q.Set("ns", c.ep.Namespace)
	}
	u.RawQuery = q.Encode()
	return &u
}

// send makes one exchange under a watchdog: it barks when the peer neither
// takes nor gives a byte for the stall timeout.
func (c *Client) send(ctx context.Context, r Request, u *url.URL, auth string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	meal := Worthwhile
	if r.Document {
		meal = math.MaxInt
	}
	dog := newWatchdog(c.pool.settings.StallTimeout, meal, func() { cancel(errStalled) })
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), nil)
	if err != nil {
		dog.stop()
		cancel(nil)
		return nil, c.transportError(err, nil)
	}
	c.fill(req, r, auth, dog)
	resp, err := c.http.Do(req)
	dog.stop()
	if err != nil {
		cause := context.Cause(ctx)
		cancel(nil)
		c.forget(err)
		return nil, c.transportError(err, cause)
	}
	resp.Body = &watchedBody{body: resp.Body, dog: dog, ctx: ctx, cancel: cancel, client: c}
	return resp, nil
}

func (c *Client) fill(req *http.Request, r Request, auth string, dog *watchdog) {
	for k, v := range r.Header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.pool.settings.UserAgent)
	if req.URL.Host == c.ep.Base.Host {
		for k, v := range c.ep.Header {
			req.Header[k] = v
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
	}
	body := r.Body
	if r.Rewind != nil {
		body = r.Rewind()
	}
	if body != nil {
		req.Body = io.NopCloser(&watchedUpload{r: body, dog: dog})
		req.ContentLength = r.Length
		if r.Length == 0 {
			req.Body = http.NoBody
		}
	}
}

// address is the API's base. For hosts where both are allowed it finds out
// once whether they speak HTTPS or plain HTTP.
func (c *Client) address(ctx context.Context) (*url.URL, error) {
	if !c.ep.Probe {
		return &c.ep.Base, nil
	}
	c.mu.Lock()
	base := c.base
	c.mu.Unlock()
	if base != nil {
		return base, nil
	}
	found := c.ep.Base
	secure := c.probe(ctx, &found)
	if secure != nil {
		found.Scheme = "http"
		if c.probe(ctx, &found) != nil {
			return nil, secure
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = &found
	return &found, nil
}

func (c *Client) probe(ctx context.Context, base *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, min(10*time.Second, c.pool.settings.StallTimeout))
	defer cancel()
	u := *base
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	resp, err := c.send(ctx, Request{Method: http.MethodGet}, &u, "")
	if err != nil {
		return err
	}
	return drain(resp)
}

// forget has the scheme probed again after a connection failed: the registry
// may come back with another.
func (c *Client) forget(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = nil
}

// drain empties and closes a small body, so that the connection is used again.
func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return errors.Join(err, resp.Body.Close())
}
