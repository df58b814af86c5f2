package nft

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/sdk/network"
)

// counting is the real backend; it counts how often all rules are looked at.
type counting struct {
	*Backend
	looks int
}

func (c *counting) Intact(ctx context.Context, r firewall.Rules) (bool, error) {
	c.looks++
	return c.Backend.Intact(ctx, r)
}

// ownNamespace gives the test a network namespace of its own, which ends with
// its thread.
func ownNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func TestOwnChangesAreNoReasonToLookAtAllRules(t *testing.T) {
	ownNamespace(t)
	kernel, err := Open(firewall.Names{Table: "strake"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &counting{Backend: kernel}
	k := firewall.NewKeeper(hclog.NewNullLogger(), b, w)
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	if err := k.SetNetwork(ctx, "n", firewall.Network{Bridge: "br0", Subnet: netip.MustParsePrefix("10.1.0.0/24")}); err != nil {
		t.Fatal(err)
	}
	repair := func(wanted bool) {
		t.Helper()
		if repaired, err := k.Repair(ctx); err != nil || repaired != wanted {
			t.Errorf("repaired %v, want %v; %v", repaired, wanted, err)
		}
	}
	repair(false)
	if b.looks != 1 {
		t.Fatalf("after the table was made it was looked at %d times, want 1", b.looks)
	}
	publish := func(port uint16) {
		t.Helper()
		f := firewall.Forward{Protocol: network.TCP, HostPort: port, ContainerIP: netip.MustParseAddr("10.1.0.2"), ContainerPort: 80}
		if err := k.SetForwards(ctx, network.EndpointID(fmt.Sprint(port)), []firewall.Forward{f}); err != nil {
			t.Fatal(err)
		}
	}
	for port := range uint16(3) {
		publish(8000 + port)
		repair(false)
	}
	if b.looks != 1 {
		t.Errorf("after changes of its own the rules were looked at %d times, want 0", b.looks-1)
	}

	// A stranger's change between two of its own.
	publish(8010)
	kernel.conn.FlushSet(kernel.layout.anyAddr)
	if err := kernel.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	publish(8011)
	repair(true)
	if b.looks != 2 {
		t.Errorf("after a stranger's change the rules were looked at %d times, want 1", b.looks-1)
	}
}
