package sysmon

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slacks are the timer slacks of all threads, by id.
func slacks(t *testing.T) map[string]time.Duration {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]time.Duration{}
	for _, p := range tasks {
		b, err := os.ReadFile("/proc/" + filepath.Base(p) + "/timerslack_ns")
		if err != nil {
			t.Fatal(err)
		}
		ns, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(p)] = time.Duration(ns)
	}
	return m
}

func TestOneThreadIsRelaxedAndItIsTheMonitor(t *testing.T) {
	before := slacks(t)
	Relax(7 * time.Millisecond)
	relaxed := ""
	for id, slack := range slacks(t) {
		switch {
		case slack != 7*time.Millisecond:
		case relaxed != "":
			t.Errorf("threads %s and %s are relaxed", relaxed, id)
		default:
			relaxed = id
		}
	}
	if relaxed == "" {
		t.Fatalf("no thread is relaxed: %v before, %v now", before, slacks(t))
	}
	// The monitor alone sleeps without being woken: a program that computes has
	// it leave the processor by itself all the time.
	switches := func() int {
		b, err := os.ReadFile("/proc/self/task/" + relaxed + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := switches()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
	}
	if slept := switches() - n; slept < 5 {
		t.Errorf("the relaxed thread slept %d times beside a program that computes, so it is not the monitor", slept)
	}
}
