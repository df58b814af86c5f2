package iptables

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
)

// A reload of the host's rules may bring back chains of before, with as many
// rules as there should be.
func TestAStaleCopyIsNotIntact(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprint("legacy=", legacy), func(t *testing.T) { staleCopy(t, legacy) })
	}
}

func staleCopy(t *testing.T, legacy bool) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	tools, err := Find(t.Context(), legacy)
	if err != nil && legacy {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := Open(firewall.NamesFor(firewall.DefaultBridge), tools)
	if err := b.Replace(t.Context(), example()); err != nil {
		t.Fatal(err)
	}
	if !b.whole {
		t.Error("iptables does not print rules as they were written: they are only counted")
	}
	port, bridge, order := example(), example(), example()
	port.Forwards[1].ContainerIP = netip.MustParseAddr("172.30.0.3")
	bridge.Networks[0].Bridge = "strake1"
	slices.Reverse(order.Forwards)
	for what, tc := range map[string]struct {
		rules firewall.Rules
		want  bool
	}{
		"the same": {example(), true}, "another order of ports": {order, true},
		"another container": {port, false}, "another bridge": {bridge, false},
	} {
		if ok, err := b.Intact(t.Context(), tc.rules); err != nil || ok != tc.want {
			t.Errorf("%s: %v %v", what, ok, err)
		}
	}
}
