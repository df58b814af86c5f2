package measure

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Memory is what processes use, in MiB: their proportional share of all pages,
// and of those the anonymous ones.
type Memory struct{ PSS, Anon float64 }

// MemoryOf adds up the memory of processes; those that have ended count nothing.
func MemoryOf(pids []int) (m Memory) {
	for _, pid := range pids {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseFloat(fields[1], 64) // the first line has none
			switch fields[0] {
			case "Pss:":
				m.PSS += kib / 1024
			case "Pss_Anon:":
				m.Anon += kib / 1024
			}
		}
		f.Close()
	}
	return m
}

// Peak watches memory while f runs and returns the largest that it saw.
func Peak(pids func() []int, f func()) (mib float64) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			mib = max(mib, MemoryOf(pids()).PSS)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	defer func() { close(stop); <-done }()
	f()
	return mib
}
