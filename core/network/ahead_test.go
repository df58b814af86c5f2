package network

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func inode(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestANamespaceIsMadeAheadAndGivenOnce(t *testing.T) {
	var a ahead
	if a.take() != nil {
		t.Fatal("there is one before anybody asked")
	}
	own, err := os.Open(ownNetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	seen := map[uint64]bool{inode(t, own): true}
	var taken []*os.File // open, or the kernel might use an inode again
	for len(taken) < 2 {
		var ns *os.File
		for until := time.Now().Add(5 * time.Second); ns == nil; time.Sleep(10 * time.Millisecond) {
			if ns = a.take(); ns == nil && time.Now().After(until) {
				t.Fatal("none is made")
			}
		}
		taken = append(taken, ns)
		if seen[inode(t, ns)] {
			t.Error("it was given before, or is the daemon's own")
		}
		seen[inode(t, ns)] = true
	}
	a.close()
	time.Sleep(2 * refillAfter)
	if a.take() != nil {
		t.Error("one is made after the end")
	}
	for _, ns := range taken {
		ns.Close()
	}
}
