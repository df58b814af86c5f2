// Package clock sets the clock of the day while a daemon, its drivers, shims and
// containers are at work, by days and by decades, and checks that nothing ends,
// waits or is lost for that. The programs are those that are shipped, launched
// under a clock of their own (test/testkit/wallclock).
package clock
