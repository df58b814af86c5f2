package group

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// ps is the list of many containers, by the CLI.
func ps(l *Lab, tb *stage.TB) {
	s := l.crowd()
	list := func(engines ...*engine.Engine) (all []contestant) {
		for _, e := range engines {
			all = append(all, of(e, func(int) float64 {
				return engine.Millis(func() {
					cmd := e.Command("ps", "-a")
					cmd.Stdout = devNull(tb)
					e.MustRun(tb, cmd)
				})
			}))
		}
		return all
	}
	few := append([]*engine.Engine{s.Runc, s.ByDocker}, l.withDaemon()...)
	for _, e := range few {
		l.have(tb, busybox, e)
		fill(tb, e, l.size(500, 20))
	}
	l.interleave("ps", "ps -a with 500", "ms", l.reps(10), list(few...)...)
	fill(tb, s.Runc, l.size(5000, 60))
	l.interleave("ps", "ps -a with 5000", "ms", l.reps(10), list(s.Runc, s.ByDocker)...)
}

// api is how many lists of 1,000 containers a daemon gives to 200 clients.
func api(l *Lab, tb *stage.TB) {
	s := engine.StartStrake(tb, "api", l.Images).Runc
	var list []contestant
	for _, e := range append([]*engine.Engine{s}, l.withDaemon()...) {
		l.have(tb, busybox, e)
		fill(tb, e, l.size(1000, 20))
		list = append(list, of(e, func(int) float64 { return load(tb, e, 200, time.Duration(l.size(3, 1))*time.Second) }))
	}
	l.interleave("api", "list of 1000 containers, 200 clients", "1/s", l.reps(3), list...)
}

// load asks for the list on so many connections and returns answers per second.
func load(tb testing.TB, e *engine.Engine, at int, d time.Duration) float64 {
	tb.Helper()
	client := e.API(at)
	defer client.CloseIdleConnections()
	var answers, failures atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range at {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for time.Now().Before(end) {
				if err := drain(client, "http://engine/containers/json?all=1", buf); err != nil {
					failures.Add(1)
				} else {
					answers.Add(1)
				}
			}
		})
	}
	began := time.Now()
	wg.Wait()
	if n := failures.Load(); n > 0 {
		tb.Errorf("%s: %d of %d requests failed", e.Name, n, n+answers.Load())
	}
	return float64(answers.Load()) / time.Since(began).Seconds()
}

func drain(client *http.Client, url string, buf []byte) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, buf)
	return err
}

// fill creates containers until there are n. They never ran.
func fill(tb testing.TB, e *engine.Engine, n int) {
	tb.Helper()
	client := e.API(8)
	defer client.CloseIdleConnections()
	var have []struct{}
	if err := get(client, "/containers/json?all=1", &have); err != nil {
		tb.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"Image": busybox, "Cmd": []string{"true"}})
	if err != nil {
		tb.Fatal(err)
	}
	err = clients(8, max(0, n-len(have)), func(int) error {
		resp, err := client.Post("http://engine/containers/create", "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			text, _ := io.ReadAll(resp.Body) // the status says it as well
			return fmt.Errorf("create: %s: %s", resp.Status, text)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	})
	if err != nil {
		tb.Fatalf("%s: %v", e.Name, err)
	}
}
