package footprint

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident counts the pages of a range that the process has mapped.
func resident(t *testing.T, r addresses) (mapped, all int) {
	t.Helper()
	pagemap, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pagemap) //nolint:errcheck // read only
	page := uintptr(unix.Getpagesize())
	entries := make([]uint64, (r.end-r.start)/page)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&entries[0])), 8*len(entries))
	if n, err := unix.Pread(pagemap, bytes, int64(r.start/page*8)); err != nil || n != len(bytes) {
		t.Fatalf("read %d bytes of pagemap: %v", n, err)
	}
	for _, e := range entries {
		if e>>63 == 1 { // present
			mapped++
		}
	}
	return mapped, len(entries)
}

// largest is the program's largest range, with every page of it mapped.
func largest(t *testing.T) (r addresses) {
	t.Helper()
	all, err := programRanges()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if x.end-x.start > r.end-r.start {
			r = x
		}
	}
	if r.start == 0 {
		t.Fatal("no mapping of the program is found")
	}
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_POPULATE_READ); errno != 0 {
		t.Fatal(errno)
	}
	return r
}

func TestReleaseLetsGoOfWhatIsNotUsed(t *testing.T) {
	r := largest(t)
	if mapped, all := resident(t, r); mapped != all {
		t.Fatalf("%d of %d pages are mapped before", mapped, all)
	}
	if err := Release(); err != nil {
		t.Fatal(err)
	}
	if mapped, all := resident(t, r); mapped > all/2 {
		t.Errorf("%d of %d pages are mapped after", mapped, all)
	}
}

func TestARestBeginsWhenNothingStirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times atomic.Int64
		r := newRest(time.Second, time.Minute, func() { times.Add(1) })
		expect := func(after time.Duration, want int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if times.Load() != want {
				t.Errorf("let go %d times, expected %d", times.Load(), want)
			}
		}
		expect(900*time.Millisecond, 0)
		r.Stir() // does not put off what ends the start
		expect(200*time.Millisecond, 1)
		expect(58*time.Second, 1)
		r.Stir()
		expect(59*time.Second, 1)
		expect(2*time.Second, 2)
		expect(time.Hour, 2) // once for each rest
		r.Stir()
		expect(61*time.Second, 3)
	})
}

func BenchmarkStir(b *testing.B) {
	r := newRest(time.Hour, time.Hour, func() {})
	for b.Loop() {
		r.Stir()
	}
}
