package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/strakehq/strake/sdk/registry"
)

const (
	tokenTimeout  = 30 * time.Second
	tokenLifetime = 60 * time.Second // when the service does not say
	maxLifetime   = 24 * 60 * 60     // in seconds, whatever the service says
	maxGrants     = 1024
)

// grant is what answers the challenge for some scopes and credentials.
type grant struct {
	header string
	until  time.Time
}

// grantKey tells grants apart without keeping a secret.
func grantKey(r Request) string {
	c := r.Credentials
	h := sha256.New()
	for _, s := range append([]string{c.Username, c.Password.Reveal(), c.IdentityToken.Reveal(), c.RegistryToken.Reveal()}, r.Scopes...) {
		fmt.Fprintf(h, "%d:%s,", len(s), s) //nolint:errcheck // hashes never fail
	}
	return hex.EncodeToString(h.Sum(nil))
}

// authorization returns the header to send at once, empty when no challenge is
// known yet. It is only ever for the endpoint's own host.
func (c *Client) authorization(r Request, target *url.URL) string {
	if target.Host != c.ep.Base.Host {
		return ""
	}
	if t := r.Credentials.RegistryToken; t != "" {
		return "Bearer " + t.Reveal()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.grants[grantKey(r)]
	if !ok || time.Now().After(g.until) {
		return ""
	}
	return g.header
}

// answerChallenge gets what a 401 asks for. used is the header that was
// refused.
func (c *Client) answerChallenge(ctx context.Context, r Request, resp *http.Response, used string) error {
	ch, ok := pickChallenge(resp.Header)
	refusal := c.failure(resp)
	if !ok || r.Credentials.RegistryToken != "" {
		return refusal
	}
	select { // one exchange at a time: parallel layers ask for one token
	case c.exchange <- struct{}{}:
		defer func() { <-c.exchange }()
	case <-ctx.Done():
		return ctx.Err()
	}
	key := grantKey(r)
	c.mu.Lock()
	g, known := c.grants[key]
	c.mu.Unlock()
	if known && g.header != used && time.Now().Before(g.until) {
		return nil
	}
	creds, err := c.credentials(ctx, r)
	if err != nil {
		return err
	}
	g, _, err = c.grant(ctx, ch, creds, r.Scopes, refusal)
	if err != nil {
		return err
	}
	if g.header == used {
		return refusal // the same password will not do the second time
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.grants) >= maxGrants {
		clear(c.grants)
	}
	c.grants[key] = g
	return nil
}

func (c *Client) credentials(ctx context.Context, r Request) (registry.Credentials, error) {
	if r.Credentials != (registry.Credentials{}) || c.pool.settings.Lookup == nil {
		return r.Credentials, nil
	}
	host := c.ep.Host
	if !c.ep.Mirror {
		host = c.ep.Namespace
	}
	return c.pool.settings.Lookup(ctx, host)
}

func (c *Client) grant(ctx context.Context, ch challenge, creds registry.Credentials, scopes []string, refusal error) (grant, registry.Secret, error) {
	if creds.RegistryToken != "" {
		return grant{header: "Bearer " + creds.RegistryToken.Reveal(), until: time.Now().Add(tokenLifetime)}, "", nil
	}
	if ch.scheme == "basic" {
		if creds.Username == "" {
			return grant{}, "", fmt.Errorf("no basic auth credentials, log in first: %w", refusal)
		}
		pair := creds.Username + ":" + creds.Password.Reveal()
		h := "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
		return grant{header: h, until: time.Now().Add(time.Hour)}, "", nil
	}
	t, err := c.token(ctx, ch, creds, scopes)
	if err != nil {
		return grant{}, "", err
	}
	life := tokenLifetime
	if t.ExpiresIn > 0 {
		life = time.Duration(min(t.ExpiresIn, maxLifetime)) * time.Second
	}
	return grant{header: "Bearer " + t.Token, until: time.Now().Add(life * 9 / 10)}, registry.Secret(t.RefreshToken), nil
}

// token exchanges credentials for a token at the realm.
func (c *Client) token(ctx context.Context, ch challenge, creds registry.Credentials, scopes []string) (*transport.Token, error) {
	base, err := c.address(ctx)
	if err != nil {
		return nil, err
	}
	realm, err := checkRealm(ch.params["realm"], base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.ep.Host, err)
	}
	// The library refuses private addresses unless they are the registry's;
	// checkRealm has a finer rule, so the realm's own host is handed over.
	reg, err := name.NewRegistry(realm.Host, name.WeakValidation)
	if err != nil {
		return nil, fmt.Errorf("%s: token realm host %q: %w", c.ep.Host, clean(realm.Host), errdefs.ErrInvalidArgument)
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	auth := authn.FromConfig(authn.AuthConfig{
		Username: creds.Username, Password: creds.Password.Reveal(), IdentityToken: creds.IdentityToken.Reveal(),
	})
	if creds == (registry.Credentials{}) {
		auth = authn.Anonymous
	}
	t, err := transport.Exchange(ctx, reg, auth, &realmTransport{c, realm.Host}, scopes, &transport.Challenge{
		Scheme: "bearer", Insecure: realm.Scheme == "http",
		Parameters: map[string]string{"realm": realm.String(), "service": ch.params["service"]},
	})
	if err != nil {
		return nil, c.tokenError(ctx, realm.Host, err)
	}
	if t.AccessToken != "" {
		t.Token = t.AccessToken
	}
	if strings.ContainsFunc(t.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, c.tokenError(ctx, realm.Host, errNoToken)
	}
	return t, nil
}

// errNoToken: it could not be sent in a header.
var errNoToken = errors.New("token has characters that no token may have")

// tokenError leaves out what the service answered, which may hold a token.
func (c *Client) tokenError(ctx context.Context, realm string, err error) error {
	var te *transport.Error
	var ue *url.Error
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: token service %s: no answer: %w", c.ep.Host, realm, errdefs.ErrUnavailable)
	case errors.As(err, &te):
		e := c.statusError(te.StatusCode, http.Header{}, nil)
		e.text = fmt.Sprintf("token service %s: %s", realm, e.text)
		if len(te.Errors) > 0 {
			e.text = fmt.Sprintf("token service %s: %s", realm, clean(te.Errors[0].Message))
		}
		if te.StatusCode == http.StatusUnauthorized || te.StatusCode == http.StatusForbidden {
			e.text += " (incorrect username or password)"
			e.class = errdefs.ErrUnauthenticated
		}
		return e
	case errors.As(err, &ue):
		return c.transportError(ue, nil)
	default:
		return fmt.Errorf("%s: token service %s gave no usable token: %w", c.ep.Host, realm, errdefs.ErrUnauthenticated)
	}
}

// checkRealm keeps a registry from sending credentials anywhere: plain HTTP
// only when the registry itself is spoken to so, and an address inside the
// machine or the site only when the registry lies there as well.
func checkRealm(realm string, base *url.URL) (*url.URL, error) {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("token realm %q is no address: %w", clean(realm), errdefs.ErrInvalidArgument)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || base.Scheme != "http") {
		return nil, fmt.Errorf("token realm %q refused: its scheme must be https: %w", clean(realm), errdefs.ErrPermissionDenied)
	}
	if inside(u.Hostname()) && u.Hostname() != base.Hostname() && !inside(base.Hostname()) {
		return nil, fmt.Errorf("token realm %q refused: a public registry names an internal address: %w", clean(realm), errdefs.ErrPermissionDenied)
	}
	return u, nil
}

func inside(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

// realmTransport reaches the token service's host and no other, so that a
// redirect cannot carry a refresh token away.
type realmTransport struct {
	c    *Client
	host string
}

func (t *realmTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != t.host {
		return nil, fmt.Errorf("token service redirects to another host, %s: refused", r.URL.Host)
	}
	r.Header.Set("User-Agent", t.c.pool.settings.UserAgent)
	return t.c.RoundTrip(r)
}

// Login checks credentials and returns the identity token that the registry's
// token service gives in their place, if it does.
func (c *Client) Login(ctx context.Context, creds registry.Credentials) (registry.Secret, error) {
	r := Request{Method: http.MethodGet, Credentials: creds, OK: []int{http.StatusOK, http.StatusUnauthorized}}
	resp, err := c.Do(ctx, Request{Method: r.Method, OK: r.OK})
	if err != nil || resp.StatusCode == http.StatusOK {
		return "", closeAfter(resp, err)
	}
	base, err := c.address(ctx)
	if err != nil {
		return "", errors.Join(err, resp.Body.Close())
	}
	ch, ok := pickChallenge(resp.Header)
	own := isFrom(resp, base)
	refusal := c.failure(resp)
	if !ok || !own {
		return "", refusal
	}
	if u, perr := url.Parse(ch.params["realm"]); perr == nil && ch.scheme == "bearer" && creds.Password != "" {
		q := u.Query()
		q.Set("offline_token", "true")
		q.Set("account", creds.Username)
		u.RawQuery = q.Encode()
		ch.params["realm"] = u.String()
	}
	g, identity, err := c.grant(ctx, ch, creds, nil, refusal)
	if err != nil {
		return "", err
	}
	r.OK = r.OK[:1]
	resp, err = c.send(ctx, r, c.target(base, r), g.header)
	if err == nil && resp.StatusCode != http.StatusOK {
		return "", c.failure(resp)
	}
	return identity, closeAfter(resp, err)
}

func closeAfter(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	return drain(resp)
}
