// Package soak turns containers over for a long time, beside others that live,
// and compares what the daemon, its drivers and the shims hold at the beginning
// and at the end. It is run by make soak; STRAKE_SOAK_CYCLES and
// STRAKE_SOAK_BESIDE say how much.
package soak
