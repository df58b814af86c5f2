// Package hosts knows where the registries of a host name are: mirrors first,
// the registry itself last, each with its TLS settings, headers and
// capabilities.
//
// Three sources are read: mirrors and insecure hosts from the driver's
// options, containerd's hosts.toml directories, and Docker's certs.d
// directories. Files are looked at again when they change, so that a mirror is
// added or a certificate renewed without a restart.
package hosts

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Capability says what an endpoint may be used for (containerd's
// hosts.toml).
type Capability uint8

// The capabilities.
const (
	Pull Capability = 1 << iota
	Resolve
	Push

	all = Pull | Resolve | Push
)

// Endpoint is one address at which a registry's content is served.
type Endpoint struct {
	// Host is host[:port], for messages and for credentials.
	Host string
	// Base is the URL below which the API lies, "/v2" included. Its scheme
	// is https when Probe is set.
	Base url.URL
	// Mirror: another registry stands in for the one asked for.
	Mirror bool
	// Namespace is the host asked for; a mirror is told it as "ns".
	Namespace string
	// Probe: plain HTTP is tried when HTTPS does not answer.
	Probe        bool
	Capabilities Capability
	Header       http.Header
	TLS          *tls.Config
	DialTimeout  time.Duration
	// Key changes whenever any of the settings does.
	Key string
}

// Has says whether the endpoint may be used for c.
func (e Endpoint) Has(c Capability) bool { return e.Capabilities&c != 0 }

// Config is where the settings come from.
type Config struct {
	// Mirrors are base URLs or host[:port] by registry host.
	Mirrors map[string][]string
	// Insecure are hosts, host:port or CIDR prefixes: certificates are not
	// verified and plain HTTP is tried.
	Insecure []string
	// HostsDirs hold <host>/hosts.toml as containerd's config_path does.
	HostsDirs []string
	// CertsDirs hold <host>/*.crt, *.cert and *.key as Docker's certs.d does.
	CertsDirs []string
}

// Set answers for all hosts. It is safe for concurrent use.
type Set struct {
	config   Config
	prefixes []netip.Prefix
	names    map[string]bool

	mu    sync.Mutex
	cache map[string]cached // guarded by mu
}

type cached struct {
	stamp     string
	endpoints []Endpoint
}

// New checks the static settings. Errors are ErrInvalidArgument.
func New(c Config) (*Set, error) {
	s := &Set{config: c, names: map[string]bool{}, cache: map[string]cached{}}
	for _, h := range c.Insecure {
		if p, err := netip.ParsePrefix(h); err == nil {
			s.prefixes = append(s.prefixes, p)
			continue
		}
		if h == "" || strings.ContainsAny(h, "/@ ") {
			return nil, fmt.Errorf("insecure: %q is neither a host, host:port nor a CIDR prefix: %w", withoutSecrets(h), errdefs.ErrInvalidArgument)
		}
		s.names[h] = true
	}
	for host, list := range c.Mirrors {
		for _, m := range list {
			if _, err := parseBase(m); err != nil {
				return nil, fmt.Errorf("mirrors: %s: %w", host, err)
			}
		}
	}
	return s, nil
}

// Endpoints returns the endpoints of a registry host in the order in which they
// are to be tried.
func (s *Set) Endpoints(host string) ([]Endpoint, error) {
	src := s.sources(host)
	stamp := stampOf(src)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.cache[host]; ok && c.stamp == stamp {
		return c.endpoints, nil
	}
	eps, err := s.load(host, src)
	if err != nil {
		return nil, fmt.Errorf("registry %s: configuration: %w", host, err)
	}
	for i := range eps {
		eps[i].Key = fmt.Sprintf("%s|%d|%s|%s", host, i, eps[i].Base.String(), stamp)
	}
	s.cache[host] = cached{stamp: stamp, endpoints: eps}
	return eps, nil
}

// Address maps the name that people use to where the registry is.
func Address(host string) string {
	switch host {
	case "docker.io", "index.docker.io":
		return "registry-1.docker.io"
	default:
		return host
	}
}

func (s *Set) load(host string, src []string) ([]Endpoint, error) {
	var out []Endpoint
	for _, m := range s.config.Mirrors[host] {
		e, err := s.mirror(host, m)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	file, dir, err := readHostsFile(src)
	if err != nil {
		return nil, err
	}
	if file == nil {
		e, err := s.plain(Address(host))
		return append(out, e), err
	}
	more, err := s.fromFile(host, file, dir)
	return append(out, more...), err
}

func (s *Set) mirror(host, m string) (Endpoint, error) {
	base, err := parseBase(m)
	if err != nil {
		return Endpoint{}, err
	}
	e, err := s.plain(base.Host)
	if err != nil {
		return e, err
	}
	if strings.Contains(m, "://") {
		e.Probe = false
		e.Base = *base
	}
	e.Base.Path = apiPath(base.Path, false)
	e.Mirror, e.Namespace, e.Capabilities = true, host, Pull|Resolve
	return e, nil
}

// plain is an endpoint known by nothing but its address.
func (s *Set) plain(address string) (Endpoint, error) {
	e := Endpoint{
		Host: address, Namespace: address, Capabilities: all,
		Base: url.URL{Scheme: "https", Host: address, Path: "/v2"},
	}
	var err error
	insecure := s.insecure(address)
	e.TLS, err = certsDirTLS(s.certDirs(address), insecure)
	e.Probe = insecure
	return e, err
}

// insecure reports what Docker treats so: the hosts listed and loopback.
func (s *Set) insecure(address string) bool {
	name := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		name = h
	}
	if s.names[address] || s.names[name] || name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if err != nil {
		return false
	}
	for _, p := range s.prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return ip.IsLoopback()
}

func parseBase(s string) (*url.URL, error) {
	raw := s
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is not an address like https://mirror.example:5000: %w", withoutSecrets(s), errdefs.ErrInvalidArgument)
	}
	return u, nil
}

// withoutSecrets cuts from an address what may hold a password or token: the
// error goes to logs that more people read than the configuration. It works on
// text, for what does not parse may hold one as well.
func withoutSecrets(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = "…" + rest[i:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i+1] + "…"
	}
	if found {
		return scheme + "://" + rest
	}
	return rest
}

// apiPath appends "/v2" as containerd does, unless the path is to be taken as
// it is.
func apiPath(p string, override bool) string {
	p = strings.TrimRight(p, "/")
	if override || strings.HasSuffix(p, "/v2") {
		return p
	}
	return p + "/v2"
}
