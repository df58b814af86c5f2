package group

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// serve is "run -d -p" of nginx until its first page.
func serve(l *Lab, tb *stage.TB) {
	all := append(l.strake().All(), l.peers()...)
	l.have(tb, nginx, all...)
	ids := map[string]string{}
	var list []contestant
	for _, e := range all {
		c := of(e, func(int) float64 {
			return engine.Millis(func() {
				ids[e.Name] = e.Must(tb, "run", "-d", "-p", "8080:80", nginx)
				awaitURL(tb, e, "http://127.0.0.1:8080/")
			})
		})
		c.after = func(int) { e.Must(tb, "rm", "-f", ids[e.Name]) }
		list = append(list, c)
	}
	l.interleave("serve", "run -d -p nginx to the first 200", "ms", l.reps(12), list...)
}

// awaitHTTP waits until a container's published port answers.
func awaitHTTP(tb testing.TB, e *engine.Engine, id string) {
	tb.Helper()
	addr, _, _ := strings.Cut(e.Must(tb, "port", id, "80"), "\n")
	awaitURL(tb, e, "http://"+addr+"/")
}

// awaitURL waits for status 200, from within the engine's namespace.
func awaitURL(tb testing.TB, e *engine.Engine, url string) {
	tb.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer(e)}}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		resp, err := client.Get(url)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	tb.Fatalf("%s: %s does not answer", e.Name, url)
}

func dialer(e *engine.Engine) func(context.Context, string, string) (net.Conn, error) {
	return e.Host.Namespace().DialContext
}

func devNull(tb testing.TB) *os.File {
	tb.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}
