package networkwire

import (
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	pb "github.com/strakehq/strake/sdk/internal/pb/networkpb"
	"github.com/strakehq/strake/sdk/internal/wire/wiretest"
	"github.com/strakehq/strake/sdk/network"
)

func same(t *testing.T, want, got any, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestNoFieldIsLost(t *testing.T) {
	var f wiretest.Filler
	var n network.Network
	f.Fill(&n)
	gotN, err := fromNetwork(toNetwork(n))
	same(t, n, gotN, err)

	var r network.AttachRequest
	f.Fill(&r)
	gotR, err := fromRequest(toRequest(r))
	same(t, r, gotR, err)

	var a network.Attachment
	f.Fill(&a.Endpoint)
	f.Fill(&a.Network)
	f.Fill(&a.Ports)
	f.Fill(&a.Handle)
	a.Container, a.NetNS, a.IfName, a.MAC = "c", "n", "i", "m"
	a.Result = &types100.Result{CNIVersion: "1.1.0", Interfaces: []*types100.Interface{{Name: "eth0", Sandbox: "n"}}}
	wire, err := toAttachment(a)
	if err != nil {
		t.Fatal(err)
	}
	gotA, err := fromAttachment(wire)
	same(t, a, gotA, err)

	gotN, err = fromNetwork(toNetwork(network.Network{}))
	same(t, network.Network{}, gotN, err)
}

func TestMalformedAddressesAreInvalidArguments(t *testing.T) {
	for _, n := range []*pb.Network{
		{Subnets: []*pb.Subnet{{Prefix: "10.0.0.0/33"}}},
		{Subnets: []*pb.Subnet{{Gateway: "x"}}},
		{Subnets: []*pb.Subnet{{Reserved: map[string]string{"a": "1.2.3"}}}},
	} {
		if _, err := fromNetwork(n); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %v", n, err)
		}
	}
	if _, err := fromRequest(&pb.AttachRequest{Ports: []*pb.Port{{HostPort: 65536}}}); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
	if _, err := fromAttachment(&pb.Attachment{Result: []byte("{")}); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}

func FuzzFromAttachment(f *testing.F) {
	f.Add("10.0.0.1", uint32(80), []byte(`{"cniVersion": "1.1.0"}`))
	f.Add("::ffff:1.2.3.4%eth0", uint32(70000), []byte(`{"cniVersion": 1, "ips": [{}]}`))
	f.Fuzz(func(t *testing.T, ip string, port uint32, result []byte) {
		a, err := fromAttachment(&pb.Attachment{Ports: []*pb.Port{{HostIp: ip, HostPort: port}}, Result: result})
		if err != nil {
			return
		}
		wire, err := toAttachment(a)
		if err != nil {
			return // a CNI result of a version that cannot be written
		}
		if again, err := fromAttachment(wire); err != nil || again.Ports[0] != a.Ports[0] {
			t.Error(again, err)
		}
	})
}
