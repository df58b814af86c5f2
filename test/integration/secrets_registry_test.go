package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

const (
	guarded = "127.0.0.1:5443" // TLS with client certificates, tokens, signed addresses of blobs
	simple  = "127.0.0.1:5444" // a password
)

// guard stands before the host's registry and lets in who shows the secrets.
type guard struct {
	secrets map[string]string
	// inside is the registry.
	inside http.Handler
}

// startGuards listens at both addresses. certs is a certs_dir for the daemon.
func startGuards(t *testing.T, h *testkit.Host, secrets map[string]string) (certs string) {
	t.Helper()
	behind := &url.URL{Scheme: "http", Host: h.Registry}
	g := guard{secrets, &httputil.ReverseProxy{
		Transport: h.HTTP().Transport, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.SetXForwarded()
			r.Out.Host = r.In.Host // the registry names itself so in the addresses of uploads
			r.Out.URL.Path = strings.Replace(r.Out.URL.Path, "/broken/", "/library/", 1)
		},
	}}
	ca := testkit.NewAuthority(t)
	server, client := ca.Write(t, x509.ExtKeyUsageServerAuth), ca.Write(t, x509.ExtKeyUsageClientAuth)
	certs = filepath.Join(h.Dir, "certs.d")
	for to, from := range map[string]string{"ca.crt": "ca.pem", "client.cert": "cert.pem", "client.key": "key.pem"} {
		data, err := os.ReadFile(filepath.Join(client, from))
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Join(certs, guarded), 0o700), os.WriteFile(filepath.Join(certs, guarded, to), data, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets["key of a client's certificate"] = keyMaterial(t, client)
	pair, err := tls.LoadX509KeyPair(server+"/cert.pem", server+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	listen := func(addr string, handler http.HandlerFunc, wrap func(net.Listener) net.Listener) {
		var l net.Listener
		err := h.Namespace().Do(func() (err error) {
			l, err = new(net.ListenConfig).Listen(t.Context(), "tcp4", addr)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
		go s.Serve(wrap(l)) // always ErrServerClosed
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	listen(guarded, g.byToken, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	})
	listen(simple, g.byPassword, func(l net.Listener) net.Listener { return l })
	return certs
}

// keyMaterial is a line from the middle of a private key, as PEM writes it.
func keyMaterial(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n")[1]
}

func (g guard) byPassword(w http.ResponseWriter, r *http.Request) {
	if _, p, _ := r.BasicAuth(); p != g.secrets["password of the daemon's auth_file"] && p != g.secrets["password"] {
		w.Header().Set("WWW-Authenticate", `Basic realm="simple"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	g.inside.ServeHTTP(w, r)
}

func (g guard) byToken(w http.ResponseWriter, r *http.Request) {
	signature := g.secrets["signature of an address"]
	switch {
	case r.URL.Path == "/token":
		g.token(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/") && r.URL.Query().Get("signature") == signature:
		if strings.Contains(r.URL.Path, "/broken/") {
			http.Error(w, "the signature "+signature+" has expired", http.StatusForbidden)
			return
		}
		g.inside.ServeHTTP(w, r)
	case r.Header.Get("Authorization") != "Bearer "+g.secrets["access token"] && r.Header.Get("Authorization") != "Bearer "+g.secrets["registry token"]:
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+guarded+`/token",service="guarded"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
	case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:"):
		http.Redirect(w, r, "https://"+guarded+r.URL.Path+"?signature="+signature, http.StatusTemporaryRedirect)
	default:
		g.inside.ServeHTTP(w, r)
	}
}

// token is a token service that quotes, as some do, what it refuses.
func (g guard) token(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	refresh := r.PostFormValue("refresh_token")
	if password != g.secrets["password"] && refresh != g.secrets["identity token"] {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"details": "not known: " + password + refresh}) // the client may be gone
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"token": g.secrets["access token"], "refresh_token": g.secrets["identity token"], "expires_in": 300,
	}) // the client may be gone
}
