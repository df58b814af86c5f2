package hijack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strakehq/strake/core/api/version"
)

// pair returns both ends of a connection of a kind.
func pair(t testing.TB, network string) (client, server net.Conn) {
	t.Helper()
	if network == "tls" {
		return tlsPair(t)
	}
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = new(net.Dialer).DialContext(context.Background(), network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func tlsPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS() // for its certificate
	defer s.Close()
	client, server := pair(t, "tcp")
	a := tls.Client(client, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // both ends are here
	b := tls.Server(server, &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- b.HandshakeContext(context.Background()) }()
	if err := errors.Join(a.HandshakeContext(context.Background()), <-shaken); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// half closes one direction.
func half(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// session is a client joined to a process.
type session struct {
	client, process net.Conn
	ended           chan error
}

func start(t *testing.T, network, early string, detach []byte) *session {
	t.Helper()
	s := &session{ended: make(chan error, 1)}
	var near, far net.Conn
	s.client, near = pair(t, network)
	s.process, far = pair(t, "unix")
	r := bufio.NewReader(io.MultiReader(strings.NewReader(early), near))
	if _, err := r.Peek(len(early)); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- Join(&Conn{Conn: near, early: r}, far.(*net.UnixConn), detach) }()
	return s
}

func (s *session) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("join: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on")
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func wantAll(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestJoin(t *testing.T) {
	for _, network := range []string{"unix", "tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Run("a client that ends its input keeps its output", func(t *testing.T) {
				s := start(t, network, "early ", nil)
				write(t, s.client, "late")
				half(t, s.client)
				wantAll(t, s.process, "early late")
				write(t, s.process, "answer")
				s.process.Close()
				wantAll(t, s.client, "answer")
				s.client.Close()
				s.end(t)
			})
			t.Run("output that ends ends the session, with input unread", func(t *testing.T) {
				s := start(t, network, "", nil)
				write(t, s.process, "bye")
				half(t, s.process)
				write(t, s.client, "unread")
				wantAll(t, s.client, "bye")
				s.client.Close()
				s.end(t)
			})
			t.Run("a client that vanishes ends the session", func(t *testing.T) {
				s := start(t, network, "", nil)
				if c, ok := s.client.(*net.TCPConn); ok {
					if err := c.SetLinger(0); err != nil { // reset, not end
						t.Fatal(err)
					}
				}
				s.client.Close()
				if _, err := io.ReadAll(s.process); err != nil {
					t.Error(err)
				}
				if network == "tcp" { // half-closed or gone: the next write tells
					s.process.Close()
				}
				s.end(t)
			})
			t.Run("detach keys end the client's side alone", func(t *testing.T) {
				s := start(t, network, "", []byte{16, 17})
				write(t, s.client, "ls\x10\x11no")
				wantAll(t, s.process, "ls")
				wantAll(t, s.client, "")
				s.client.Close()
				s.end(t)
			})
			t.Run("much in both directions", func(t *testing.T) {
				s := start(t, network, "", nil)
				data := make([]byte, 2<<20)
				rand.Read(data)
				go func() { // echo
					if _, err := io.Copy(s.process, s.process); err != nil {
						t.Error(err)
					}
					s.process.Close()
				}()
				go func() {
					if _, err := s.client.Write(data); err != nil {
						t.Error(err)
					}
					half(t, s.client)
				}()
				if got, err := io.ReadAll(s.client); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				s.client.Close()
				s.end(t)
			})
		})
	}
}

func TestAClientThatEndedItsInputAndThenVanishesEndsTheSession(t *testing.T) {
	s := start(t, "unix", "", nil)
	half(t, s.client)
	wantAll(t, s.process, "") // the process has seen the end of its input
	s.client.Close()
	s.end(t)
}

func TestInputOfAProcessThatTakesNoneIsDropped(t *testing.T) {
	s := start(t, "unix", "", nil)
	if err := s.process.(*net.UnixConn).CloseRead(); err != nil {
		t.Fatal(err)
	}
	write(t, s.client, strings.Repeat("x", 2<<20))
	write(t, s.process, "still here")
	s.process.Close()
	wantAll(t, s.client, "still here")
	s.client.Close()
	s.end(t)
}

func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		version, upgrade, status, mediaType string
		tty                                 bool
	}{
		{"1.56", "tcp", "101 UPGRADED", "application/vnd.docker.multiplexed-stream", false},
		{"1.56", "tcp", "101 UPGRADED", "application/vnd.docker.raw-stream", true},
		{"1.41", "tcp", "101 UPGRADED", "application/vnd.docker.raw-stream", false},
		{"1.56", "", "200 OK", "application/vnd.docker.raw-stream", false},
	} {
		t.Run(fmt.Sprintf("%s %q tty %t", c.version, c.upgrade, c.tty), func(t *testing.T) {
			client, server := pair(t, "unix")
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				v, err := version.Check(c.version)
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("Api-Version", version.Newest)
				conn, err := Upgrade(version.Into(r.Context(), v), w, r, c.tty)
				if err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != "early" {
					t.Errorf("got %q, %v", got, err)
				}
				if err := conn.Finish(); err != nil {
					t.Error(err)
				}
			})
			srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
			t.Cleanup(func() { srv.Close() })
			go func() {
				if err := srv.Serve(&single{conn: server}); !errors.Is(err, io.EOF) && !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			}()
			write(t, client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"+map[bool]string{true: "Upgrade: tcp\r\nConnection: Upgrade\r\n"}[c.upgrade != ""]+"\r\nearly")
			half(t, client)
			got, err := io.ReadAll(client)
			for _, want := range []string{"HTTP/1.1 " + c.status + "\r\n", "\r\nContent-Type: " + c.mediaType + "\r\n", "\r\nApi-Version: 1.56\r\n"} {
				if err != nil || !strings.Contains(string(got), want) {
					t.Errorf("%q is not in %q, %v", want, got, err)
				}
			}
		})
	}
}

// single is a listener of one connection.
type single struct {
	net.Listener
	conn net.Conn
}

func (s *single) Accept() (net.Conn, error) {
	if s.conn == nil {
		return nil, io.EOF
	}
	c := s.conn
	s.conn = nil
	return c, nil
}
func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return &net.UnixAddr{} }

func BenchmarkOutput(b *testing.B) {
	for _, chunk := range []int{4 << 10, 32 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", chunk>>10), func(b *testing.B) {
			client, near := pair(b, "unix")
			process, far := pair(b, "unix")
			done := make(chan error, 1)
			go func() {
				done <- Join(&Conn{Conn: near, early: bufio.NewReader(strings.NewReader(""))}, far.(*net.UnixConn), nil)
			}()
			const total = 64 << 20
			b.SetBytes(total)
			go func() {
				p := make([]byte, chunk)
				for range b.N * (total / chunk) {
					if _, err := process.Write(p); err != nil {
						b.Error(err)
						break
					}
				}
				process.Close()
			}()
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, client, make([]byte, 64<<10)); err != nil || n != int64(b.N)*total {
				b.Errorf("got %d, %v", n, err)
			}
			client.Close()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}

// later is a process that comes when its gate opens.
type later struct {
	*net.UnixConn
	gate chan struct{}
	stop chan struct{}
}

func (l *later) Await() (*net.UnixConn, error) {
	select {
	case <-l.gate:
		return l.UnixConn, nil
	case <-l.stop:
		return nil, io.EOF
	}
}

func (l *later) CloseWrite() error {
	if _, err := l.Await(); err != nil {
		return err
	}
	return l.UnixConn.CloseWrite()
}

func (l *later) Close() error {
	close(l.stop)
	return l.UnixConn.Close()
}

func TestAClientMayLeaveBeforeItsProcessComes(t *testing.T) {
	client, near := pair(t, "unix")
	_, far := pair(t, "unix")
	ended := make(chan error, 1)
	l := &later{UnixConn: far.(*net.UnixConn), gate: make(chan struct{}), stop: make(chan struct{})}
	go func() {
		ended <- Join(&Conn{Conn: near, early: bufio.NewReader(strings.NewReader(""))}, &once{later: l}, nil)
	}()
	client.Close()
	(&session{ended: ended}).end(t)
}

// once closes its process once.
type once struct {
	*later
	closed sync.Once
}

func (o *once) Close() (err error) {
	o.closed.Do(func() { err = o.later.Close() })
	return err
}
