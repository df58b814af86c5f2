package main

import "golang.org/x/sys/unix"

// untried are calls whose invalid form would not return an error: they end or
// copy the process, return into a frame that is not there, or write all disks.
// The kernel lets uretprobe and uprobe pass by all filters.
func untried(nr uintptr) bool {
	switch nr {
	case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_RT_SIGRETURN, unix.SYS_SYNC, unix.SYS_PAUSE, unix.SYS_VHANGUP, unix.SYS_URETPROBE, 336:
		return true
	}
	return false
}
