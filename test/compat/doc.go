// Package compat runs every verb of the unmodified docker CLI against straked
// and compares what it prints with what it prints in front of a Docker engine.
package compat
