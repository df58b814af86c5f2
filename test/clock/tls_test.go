package clock

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/testkit"
	"github.com/strakehq/strake/test/testkit/wallclock"
)

// Certificates are good or not by the daemon's clock of the day, for as long as it
// says so: who is refused hears of the certificate, who is connected stays, and
// the daemon itself starts with any clock.
func TestCertificatesAreJudgedByTheClockOfTheDay(t *testing.T) {
	t.Parallel()
	const address = "tcp://127.0.0.1:2376"
	ca := testkit.NewAuthority(t)
	server, mine := ca.Write(t, x509.ExtKeyUsageServerAuth), ca.Write(t, x509.ExtKeyUsageClientAuth)
	c := wallclock.New(t)
	h := testkit.New(t, testkit.WithTracer(c.Launcher()...),
		testkit.WithArgs(append([]string{"--host", address}, testkit.TLSFlags(server)...)...))
	h.Start()
	w := &world{t: t, c: c, h: h}
	overTLS := func(args ...string) []string {
		return append(append([]string{"-H", address}, testkit.TLSFlags(mine)...), args...)
	}
	ask := func() testkit.Result { return h.Docker(overTLS("version", "--format", "{{.Server.Os}}")...) }
	served := func(when string) {
		t.Helper()
		if r := ask(); r.Code != 0 || r.Out() != "linux" {
			t.Errorf("%s: code %d, %s %s", when, r.Code, r.Out(), r.Stderr)
		}
	}
	refused := func(when string) {
		t.Helper()
		if r := ask(); r.Code == 0 || !strings.Contains(r.Stderr, "certificate") {
			t.Errorf("%s: code %d, %s %s", when, r.Code, r.Out(), r.Stderr)
		}
		resp, err := h.API().Get("http://strake/_ping")
		if err != nil {
			t.Errorf("%s, by the socket: %v", when, err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s, by the socket: %s", when, resp.Status)
		}
	}
	served("by the machine's clock")
	h.MustDocker("pull", "-q", "busybox")
	h.MustDocker("run", "-d", "--name", "counts", "busybox", "sh", "-c", counter)
	follower := w.beside(overTLS("logs", "-f", "counts")...)
	h.Eventually(5*time.Second, "the follower is connected", func() bool { return strings.Contains(follower.out.String(), "line 5\n") })

	c.Shift(10 * 365 * 24 * time.Hour)
	refused("ten years on")
	c.Set(time.Unix(60, 0))
	refused("in 1970")
	before := strings.Count(follower.out.String(), "\n")
	h.Eventually(5*time.Second, "the follower is told more", func() bool { return strings.Count(follower.out.String(), "\n") > before+5 })
	w.goesOn("the follower", follower)

	h.Stop()
	h.Start()
	refused("started in 1970")
	c.Shift(0)
	served("by the machine's clock again")
}
