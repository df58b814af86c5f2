// Package budget counts what an operation makes the machine do, and holds it to
// a number: processes executed, file synchronisations, store transactions, driver
// calls, mounts, netlink messages, and bytes that pass through a pull. Counts do
// not depend on the machine or its load, so unlike times they can fail a test.
//
// The numbers and their reasons are one table, which docs/performance.md shows
// too.
package budget
