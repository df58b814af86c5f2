// Package client speaks HTTP to registries: connections kept alive per host,
// credentials by challenge, bounded redirects, retries with back-off and a
// watchdog over slow peers.
//
// It knows nothing about manifests or blobs, and it holds the one rule that
// nothing else may break: credentials and configured headers go to the host
// that they are for, and to no other.
package client

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/registry"
)

// Settings apply to all hosts.
type Settings struct {
	UserAgent string
	// Retries is how often a request that failed for a passing reason is
	// repeated.
	Retries int
	// Backoff is the pause before the first repetition; it doubles.
	Backoff time.Duration
	// DialTimeout bounds connecting, TLS apart.
	DialTimeout time.Duration
	// StallTimeout is how long a peer may neither send nor take a byte.
	StallTimeout time.Duration
	// Lookup finds the credentials that the machine's configuration has for
	// a host.
	Lookup func(ctx context.Context, host string) (registry.Credentials, error)
}

// Pool keeps one Client per endpoint. It is safe for concurrent use.
type Pool struct {
	settings Settings
	set      *hosts.Set

	mu      sync.Mutex
	clients map[string]*Client // guarded by mu; by base URL and namespace
	foreign map[string]*Client // guarded by mu; hosts that others redirect to
}

// NewPool makes a pool; set tells the TLS settings of hosts that registries
// redirect to.
func NewPool(s Settings, set *hosts.Set) *Pool {
	return &Pool{settings: s, set: set, clients: map[string]*Client{}, foreign: map[string]*Client{}}
}

// Client returns the endpoint's client, a new one when its settings changed.
func (p *Pool) Client(e hosts.Endpoint) *Client {
	return p.get(p.clients, e.Namespace+" "+e.Base.String(), e)
}

func (p *Pool) get(m map[string]*Client, key string, e hosts.Endpoint) *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := m[key]; c != nil {
		if c.ep.Key == e.Key {
			return c
		}
		c.own.CloseIdleConnections()
	}
	c := newClient(p, e)
	m[key] = c
	return c
}

// transportFor returns the transport of a host that is not the endpoint's own:
// a blob store behind a redirect, a token service. It has the TLS settings
// configured for that host, not those of the registry that named it.
func (p *Pool) transportFor(host string) (http.RoundTripper, error) {
	eps, err := p.set.Endpoints(host)
	if err != nil {
		return nil, err
	}
	e := eps[len(eps)-1]
	return p.get(p.foreign, host, e).own, nil
}

// Close drops all idle connections.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range []map[string]*Client{p.clients, p.foreign} {
		for _, c := range m {
			c.own.CloseIdleConnections()
		}
	}
}

func (p *Pool) transport(e hosts.Endpoint) *http.Transport {
	dial := e.DialTimeout
	if dial == 0 {
		dial = p.settings.DialTimeout
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     e.TLS,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // a digest is of the bytes as stored
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		// net/http would take 10 MiB of them
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// RoundTrip sends a request with the transport of its host.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == c.ep.Base.Host {
		return c.own.RoundTrip(r)
	}
	t, err := c.pool.transportFor(r.URL.Host)
	if err != nil {
		return nil, err
	}
	return t.RoundTrip(r)
}
