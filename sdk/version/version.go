// Package version holds the version that the linker writes into all programs.
package version

// Version is set with -ldflags "-X …"; "dev" in builds without it.
var Version = "dev"
