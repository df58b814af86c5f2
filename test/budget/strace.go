package budget

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/strakehq/strake/test/testkit"
)

const (
	// traced are the system calls that are counted, and those that tell which
	// program makes them.
	traced = "execve,execveat,clone,clone3,fork,vfork," +
		"fsync,fdatasync,sync,syncfs,sync_file_range,pwrite64," +
		"mount,umount2,move_mount,mount_setattr,sendto,sendmsg,sendmmsg"
	// moving are those that move bytes.
	moving = ",read,readv,pread64,preadv,preadv2,recvfrom,recvmsg," +
		"write,writev,pwritev,pwritev2,splice,sendfile,copy_file_range,vmsplice,tee"
)

// trace is the record of all that a daemon, its drivers and shims, and what they
// start ask of the kernel. strace follows them from their beginning; its filter
// lets other system calls pass at full speed.
type trace struct{ file, calls string }

func (tr trace) option() testkit.Option {
	return testkit.WithTracer("strace", "-D", "-f", "--seccomp-bpf", "-yy", "-s", "0",
		"-o", tr.file, "-e", "trace="+tr.calls, "-e", "signal=none", "--")
}

// during returns what was counted while do ran, with the work that it left for
// later. settled is how long nothing must have happened for that to be done.
func (tr trace) during(settled time.Duration, do func()) (*tally, error) {
	from, err := tr.quiet(settled)
	if err != nil {
		return nil, err
	}
	do()
	if _, err := tr.quiet(settled); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(tr.file)
	if err != nil {
		return nil, fmt.Errorf("strace (make test-system installs it): %w", err)
	}
	before := strings.Count(string(text[:from]), "\n")
	return count(strings.Split(string(text), "\n"), before), nil
}

// quiet waits until nothing has been written for a while and returns the file's
// size.
func (tr trace) quiet(d time.Duration) (size int64, err error) {
	for since := time.Now(); time.Since(since) < d; time.Sleep(20 * time.Millisecond) {
		st, err := os.Stat(tr.file)
		if err != nil {
			return 0, err
		}
		if st.Size() != size {
			size, since = st.Size(), time.Now()
		}
	}
	return size, nil
}
