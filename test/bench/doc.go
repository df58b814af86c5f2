// Package bench compares Strake with Debian's docker.io on the same machine in
// the same run, interleaved: one repetition of each, then the next of each.
// `make bench` runs it. Nothing here passes or fails by time.
package bench
