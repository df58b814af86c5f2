// Bench compares Strake with other engines on this machine. `make bench` runs
// it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/strakehq/strake/test/bench/group"
	"github.com/strakehq/strake/test/bench/images"
	"github.com/strakehq/strake/test/bench/measure"
	"github.com/strakehq/strake/test/bench/report"
	"github.com/strakehq/strake/test/bench/stage"
	"github.com/strakehq/strake/test/testkit"
)

func main() {
	only := flag.String("only", "", "groups to run, separated by commas; empty: all")
	reps := flag.Int("reps", 0, "repetitions, 0: what each group thinks right")
	short := flag.Bool("short", false, "few repetitions of small things, to see whether it works")
	out := flag.String("out", "", "directory for benchmarks.md, .json and plots; empty: docs after a full run, else .build/bench")
	flag.Parse()
	if err := run(*only, *reps, *short, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(only string, reps int, short bool, out string) error {
	build := filepath.Join(testkit.Root(), ".build")
	began := time.Now()
	r := &report.Run{
		Date: began.UTC(), Machine: measure.ThisMachine(), Version: version("git", "describe", "--tags", "--always", "--dirty"),
		Peers: map[string]string{
			"docker.io": version("/usr/sbin/dockerd", "--version"), "podman": version("podman", "--version"),
			"runc": version("runc", "--version"), "crun": version("crun", "--version"),
		},
		Failed: map[string]string{}, Book: &measure.Book{},
	}
	dir, err := images.Fill(context.Background(), build)
	if err != nil {
		return fmt.Errorf("make the images: %w", err)
	}
	tb := stage.New(os.Stderr)
	interrupted(tb)
	lab := group.Open(tb, &group.Lab{
		Book: r.Book, Images: dir, Reps: reps, Short: short, Out: os.Stderr, Root: testkit.Root(),
	})
	perform(lab, tb, only, r.Failed, os.Stderr)
	tb.Close()
	r.Missing, r.Goals, r.Took = lab.Missing(), report.Judge(r.Book, report.Goals()), time.Since(began).Round(time.Second).String()
	if err := report.Table(os.Stdout, r.Book, report.Goals()); err != nil {
		return err
	}
	for name, why := range r.Missing {
		fmt.Fprintf(os.Stdout, "%s could not be started: %s\n", name, why)
	}
	if out == "" {
		out = filepath.Join(build, "bench")
		if only == "" && !short {
			out = filepath.Join(testkit.Root(), "docs")
		}
	}
	if err := report.Write(out, r); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "took %s, written to %s\n", r.Took, filepath.Join(out, "benchmarks.md"))
	if len(r.Failed) > 0 || tb.Failed() {
		return fmt.Errorf("not everything could be measured: %v", r.Failed)
	}
	return nil
}

// interrupted has a signal leave nothing behind.
func interrupted(tb *stage.TB) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		tb.Close()
		os.Exit(1)
	}()
}

// perform runs the groups asked for. A group that fails does not keep the others
// from running.
func perform(lab *group.Lab, tb *stage.TB, only string, failed map[string]string, out io.Writer) {
	for _, g := range group.All() {
		if only != "" && !strings.Contains(","+only+",", ","+g.Name+",") {
			continue
		}
		began := time.Now()
		fmt.Fprintf(out, "%s\n", g.Name)
		if err := tb.Run(func(tb *stage.TB) { g.Run(lab, tb) }); err != nil {
			failed[g.Name] = err.Error()
		}
		fmt.Fprintf(out, "%s took %s\n", g.Name, time.Since(began).Round(100*time.Millisecond))
	}
}

// version is the first line that a program says of itself.
func version(program string, args ...string) string {
	b, err := exec.Command(program, args...).Output()
	if err != nil {
		return "none (" + err.Error() + ")"
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return first
}
