// Package app holds what every command of the strake CLI shares: the streams,
// the connection to the daemon and the way errors become exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/sdk/trace"
)

// DefaultHost is where the daemon listens unless --host, STRAKE_HOST or
// DOCKER_HOST say otherwise.
const DefaultHost = "unix:///run/strake/strake.sock"

// App is one run of the CLI.
type App struct {
	In       io.Reader
	Out, Err io.Writer

	host      string
	tls       bool
	tlsVerify bool
	tlsCA     string
	tlsCert   string
	tlsKey    string
	parent    string // W3C traceparent sent with every request, if any
	client    *client.Client
}

// New makes an App on the process's own streams.
func New() *App { return &App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// GlobalFlags adds the flags that say which daemon to talk to. As with Docker
// they stand before the command, so that commands have all letters to themselves.
func (a *App) GlobalFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.host, "host", "H", "", `Daemon socket to connect to (default "`+DefaultHost+`", or STRAKE_HOST, or DOCKER_HOST)`)
	f.BoolVar(&a.tls, "tls", false, "Use TLS; implied by --tlsverify")
	f.BoolVar(&a.tlsVerify, "tlsverify", os.Getenv("DOCKER_TLS_VERIFY") != "", "Use TLS and verify the remote")
	certs := certDir()
	f.StringVar(&a.tlsCA, "tlscacert", filepath.Join(certs, "ca.pem"), "Trust certs signed only by this CA")
	f.StringVar(&a.tlsCert, "tlscert", filepath.Join(certs, "cert.pem"), "Path to TLS certificate file")
	f.StringVar(&a.tlsKey, "tlskey", filepath.Join(certs, "key.pem"), "Path to TLS key file")
}

func certDir() string {
	for _, v := range []string{"STRAKE_CERT_PATH", "DOCKER_CERT_PATH"} {
		if d := os.Getenv(v); d != "" {
			return d
		}
	}
	return filepath.Join(ConfigDir(), "")
}

// ConfigDir is where client configuration such as config.json is kept:
// DOCKER_CONFIG or ~/.docker, so that logins are shared with the docker CLI.
func ConfigDir() string {
	if d := os.Getenv("DOCKER_CONFIG"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".docker"
	}
	return filepath.Join(home, ".docker")
}

// Host is the address of the daemon.
func (a *App) Host() string {
	for _, h := range []string{a.host, os.Getenv("STRAKE_HOST"), os.Getenv("DOCKER_HOST")} {
		if h != "" {
			return h
		}
	}
	return DefaultHost
}

// StartTrace makes the daemon record all requests of this run under one trace.
func (a *App) StartTrace() (traceID string) {
	traceID, a.parent = trace.NewParent()
	return traceID
}

// Client returns the connection to the daemon. The API version is negotiated
// with the first request.
func (a *App) Client() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	opts := []client.Opt{client.WithHost(a.Host()), client.WithUserAgent("strake-cli"), client.WithHTTPRequestHook(a.addTrace)}
	if a.tls || a.tlsVerify {
		opts = append(opts, client.WithTLSClientConfig(a.tlsCA, a.tlsCert, a.tlsKey))
	}
	if v := os.Getenv("DOCKER_API_VERSION"); v != "" {
		opts = append(opts, client.WithAPIVersion(v))
	}
	c, err := client.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.Host(), err)
	}
	a.client = c
	return c, nil
}

func (a *App) addTrace(r *http.Request) error {
	if a.parent != "" {
		r.Header.Set("traceparent", a.parent)
	}
	return nil
}

// Get fetches one of Strake's own routes, for example "/strake/v1/drivers". The
// caller closes the body.
func (a *App) Get(ctx context.Context, path string) (io.ReadCloser, error) {
	return a.request(ctx, http.MethodGet, path)
}

// Post is Get with method POST.
func (a *App) Post(ctx context.Context, path string) (io.ReadCloser, error) {
	return a.request(ctx, http.MethodPost, path)
}

func (a *App) request(ctx context.Context, method, path string) (io.ReadCloser, error) {
	c, err := a.Client()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://strake"+path, nil)
	if err != nil {
		return nil, err
	}
	httpClient := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer(c)}}
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return nil, errors.Join(fmt.Errorf("%s", message(body, resp.Status)), err, resp.Body.Close())
	}
	return resp.Body, nil
}

// StatusError ends the process with a certain code, after printing Err if it is
// not nil.
type StatusError struct {
	Code int
	Err  error
}

// Error is the text of Err or, without one, names the code.
func (e StatusError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e StatusError) Unwrap() error { return e.Err }

// Exit prints err as the CLI's last word and returns the exit code: 0 without
// an error, the code of a StatusError, 1 for any other.
func (a *App) Exit(err error) int {
	var status StatusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		if status.Err != nil {
			a.printError(status.Err)
		}
		return status.Code
	default:
		a.printError(err)
		return 1
	}
}

func (a *App) printError(err error) {
	text := strings.TrimSpace(err.Error())
	if client.IsErrConnectionFailed(err) {
		text = fmt.Sprintf("cannot connect to straked at %s: %s\nIs the daemon running? Start it with: straked", a.Host(), cause(err))
	}
	fmt.Fprintln(a.Err, "strake:", text) //nolint:errcheck // there is nobody left to tell
}

func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
