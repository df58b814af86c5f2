package group

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
)

// daemon is how long a daemon's start takes until it is of use.
func daemon(l *Lab, tb *stage.TB) {
	s := engine.StartPlainStrake(tb, "daemon", l.Images)
	l.have(tb, busybox, s)
	list := []contestant{restarted(tb, s)}
	for _, e := range l.withDaemon() {
		c := restarted(tb, e)
		c.most = 3
		list = append(list, c)
	}
	l.interleave("daemon", "start to the first answer, drivers ready", "ms", l.reps(10), list...)

	running := runMany(tb, s, l.size(200, 20))
	l.interleave("daemon", "after kill -9, until 200 running are controlled", "ms", l.reps(3), contestant{
		name: s.Name, engine: s, setUp: func(int) { s.Host.Kill() },
		do: func(int) float64 {
			return engine.Millis(func() { s.Host.Start(); control(tb, s, running) })
		},
	})
	err := clients(8, len(running), func(i int) error { _, err := try(s, "rm", "-f", running[i]); return err })
	if err != nil {
		tb.Fatal(err)
	}
	fill(tb, s, l.size(500, 20))
	l.interleave("daemon", "the same with 500 stopped", "ms", l.reps(5), restarted(tb, s))
}

// restarted measures from the start of the daemon's process to an answer that
// says that everything is ready.
func restarted(tb testing.TB, e *engine.Engine) contestant {
	return of(e, func(int) float64 {
		ms, err := e.Restart()
		if err != nil {
			tb.Fatal(err)
		}
		return ms
	})
}

func runMany(tb testing.TB, e *engine.Engine, n int) []string {
	tb.Helper()
	ids := make([]string, n)
	err := clients(8, n, func(i int) (err error) {
		ids[i], err = try(e, "run", "-d", busybox, "sleep", "100000")
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return ids
}

// control has every container be found running and obey a signal that does
// nothing.
func control(tb testing.TB, e *engine.Engine, ids []string) {
	tb.Helper()
	client := e.API(8)
	defer client.CloseIdleConnections()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		var list []struct{}
		if err := get(client, "/containers/json", &list); err == nil && len(list) == len(ids) {
			break
		}
		if time.Now().After(end) {
			tb.Fatalf("%s: %d containers do not run again", e.Name, len(ids))
		}
	}
	err := clients(8, len(ids), func(i int) error {
		resp, err := client.Post("http://engine/containers/"+ids[i]+"/kill?signal=SIGCONT", "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("kill: %s", resp.Status)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func get(client *http.Client, path string, into any) error {
	resp, err := client.Get("http://engine" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
