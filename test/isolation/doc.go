// Package isolation holds tests of what a container can reach: by a probe that
// looks around from within, in a network with hostile neighbours, and in the
// files and processes that a daemon leaves for others to see. With -docker it
// compares with Debian's docker.io in the same run.
package isolation
