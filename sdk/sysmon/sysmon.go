// Package sysmon has the Go runtime's monitor wake up more rarely.
//
// As long as a Go program does anything, one of its threads looks every 20 µs
// whether a system call takes long. On a virtual machine each of its naps costs
// a good part of what it lasts. The kernel may be told that they need not be
// exact: then it joins them with whatever else wakes the processor.
package sysmon

import (
	"os"
	"strconv"
	"time"
)

// Relax lets the monitor's naps last longer by up to slack. For as long may a
// goroutine wait that could run but for another's system call, when all
// processors (runtime.GOMAXPROCS) are in system calls.
//
// It is the thread that was made second. Where that is not so, or the kernel
// refuses, as it does without CAP_SYS_NICE, nothing is lost.
func Relax(slack time.Duration) {
	tasks, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer tasks.Close()               //nolint:errcheck // read only
	ids, err := tasks.Readdirnames(2) // the kernel lists them in the order in which they were made
	if err != nil || len(ids) < 2 {
		return
	}
	_ = os.WriteFile("/proc/"+ids[1]+"/timerslack_ns", strconv.AppendInt(nil, slack.Nanoseconds(), 10), 0)
}
