// Package crash ends and stops the daemon, its drivers, shims and OCI runtimes
// at named points and at random moments, under load, and checks afterwards that
// nothing is lost: the records equal the kernel, what should run runs and logs,
// and every client was told the truth. It also cuts the power.
//
// The files, in the order of what happens: plan (which fault comes next),
// stories (the load), strike (the fault), check (what must hold afterwards),
// world (the host on which all of it happens) and report.
package crash
