package group

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/strakehq/strake/test/bench/engine"
	"github.com/strakehq/strake/test/bench/stage"
	"github.com/strakehq/strake/test/testkit"
)

// traffic is nginx's page under wrk. Every address is one that was made here.
func traffic(l *Lab, tb *stage.TB) {
	s := l.strake().Runc
	all := append([]*engine.Engine{s}, l.peers()...)
	l.have(tb, nginx, all...)
	l.have(tb, busybox, all...)
	seconds := l.size(3, 1)
	var local, remote, inside []contestant
	for _, e := range all {
		web := e.Must(tb, "run", "-d", "-p", "8080:80", nginx)
		client := e.Must(tb, "run", "-d", busybox, "sleep", "100000")
		tb.Cleanup(func() { e.Must(tb, "rm", "-f", web, client) })
		awaitURL(tb, e, "http://127.0.0.1:8080/")
		far := testkit.NewNamespace(tb)
		if err := far.Connect(e.Host.Namespace(), "wire", "203.0.113.2/24", "203.0.113.1/24"); err != nil {
			tb.Fatal(err)
		}
		far.Before(e.CG.Enter)
		pid := e.Must(tb, "inspect", "--format", "{{.State.Pid}}", client)
		ip := e.Must(tb, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", web)
		local = append(local, of(e, func(int) float64 { return wrk(tb, e, seconds, nil, "http://127.0.0.1:8080/") }))
		remote = append(remote, of(e, func(int) float64 {
			return wrk(tb, e, seconds, []string{"nsenter", "--net=" + far.Path()}, "http://203.0.113.1:8080/")
		}))
		inside = append(inside, of(e, func(int) float64 {
			return wrk(tb, e, seconds, []string{"nsenter", "--net=/proc/" + pid + "/ns/net"}, "http://"+ip+"/")
		}))
	}
	l.interleave("traffic", "bare veth and DNAT", "1/s", l.reps(3), bareTraffic(tb, s, seconds))
	l.interleave("traffic", "localhost:8080", "1/s", l.reps(3), local...)
	l.interleave("traffic", "client in a namespace of its own", "1/s", l.reps(3), remote...)
	l.interleave("traffic", "container to container", "1/s", l.reps(3), inside...)
}

// bareTraffic is the floor: the same nginx behind one veth pair and one rule.
func bareTraffic(tb testing.TB, e *engine.Engine, seconds int) contestant {
	tb.Helper()
	server := testkit.NewNamespace(tb)
	if err := server.Connect(e.Host.Namespace(), "bare", "10.213.7.2/24", "10.213.7.1/24"); err != nil {
		tb.Fatal(err)
	}
	b := newBare(tb, e, "runc", nginx, "nginx", "-g", "daemon off;")
	b.joins(tb, server.Path())
	cmd := b.command("run", "-d", "--bundle", b.dir, "web")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = devNull(tb), devNull(tb), devNull(tb)
	e.MustRun(tb, cmd)
	tb.Cleanup(func() { e.MustRun(tb, b.command("delete", "-f", "web")) })
	rules := filepath.Join(b.dir, "nft")
	text := `table ip bench {
	chain out {
		type nat hook output priority -101
		ip daddr 10.213.7.1 tcp dport 8090 dnat to 10.213.7.2:80
	}
	chain post {
		type nat hook postrouting priority 99
		ip daddr 10.213.7.2 masquerade
	}
}
`
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	e.MustRun(tb, e.Host.Command("nft", "-f", rules))
	tb.Cleanup(func() { e.MustRun(tb, e.Host.Command("nft", "delete", "table", "ip", "bench")) })
	awaitURL(tb, e, "http://10.213.7.1:8090/")
	return contestant{name: "kernel", engine: e, do: func(int) float64 { return wrk(tb, e, seconds, nil, "http://10.213.7.1:8090/") }}
}

// wrk loads an address and returns requests per second.
func wrk(tb testing.TB, e *engine.Engine, seconds int, before []string, url string) float64 {
	tb.Helper()
	args := append(before[:len(before):len(before)], "wrk", "-t2", "-c32", fmt.Sprintf("-d%ds", seconds), url)
	out := e.MustRun(tb, e.Host.Command(args[0], args[1:]...))
	m := regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		tb.Fatalf("%s: wrk %s: %s", e.Name, url, out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}
