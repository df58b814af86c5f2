package bulk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/containerd/errdefs"
)

var errStalled = errors.New("nothing moved")

// impatient breaks a connection off on which nothing moves.
type impatient struct {
	net.Conn
	stall time.Duration
}

func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// watch ends the call of a transfer that stalled, and says so.
func (t *transfer) watch(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	t.cancel()
	return fmt.Errorf("stream: %w for %s: %w", errStalled, t.stall, errdefs.ErrUnavailable)
}

// await waits for the call after its stream has ended, and ends it when it does
// not end by itself.
func (t *transfer) await() {
	overdue := time.AfterFunc(t.stall, t.cancel)
	defer overdue.Stop()
	<-t.done
}
