package main

import "golang.org/x/sys/unix"

// untried are calls whose invalid form would not return an error: they end the
// process, return into a frame that is not there, or write all disks.
func untried(nr uintptr) bool {
	switch nr {
	case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN, unix.SYS_SYNC, unix.SYS_VHANGUP:
		return true
	}
	return false
}
