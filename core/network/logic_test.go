package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/container"
)

func TestWantedPorts(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	p := apinetwork.MustParsePort
	c := &apicontainer.Config{ExposedPorts: apinetwork.PortSet{p("80/tcp"): {}, p("53/udp"): {}}}
	h := &apicontainer.HostConfig{
		PublishAllPorts: true,
		PortBindings: apinetwork.PortMap{
			p("80/tcp"): {{HostIP: lo, HostPort: "8080"}, {HostPort: "8000-8010"}},
			p("22/tcp"): {{HostPort: ""}},
		},
	}
	got, err := wantedPorts(c, h)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, x := range got {
		text = append(text, fmt.Sprintf("%s %d %v:%d-%d", x.Protocol, x.ContainerPort, x.HostIP, x.HostPort, x.HostPortEnd))
	}
	want := []string{"tcp 22 invalid IP:0-0", "tcp 80 127.0.0.1:8080-0", "tcp 80 invalid IP:8000-8010", "udp 53 invalid IP:0-0"}
	if !reflect.DeepEqual(text, want) {
		t.Fatalf("got %q, want %q", text, want)
	}
	for _, bad := range []string{"x", "0-5", "70000", "90-80", "-1"} {
		h := &apicontainer.HostConfig{PortBindings: apinetwork.PortMap{p("80/tcp"): {{HostPort: bad}}}}
		if _, err := wantedPorts(nil, h); !errdefs.IsInvalidArgument(err) {
			t.Errorf("host port %q: %v", bad, err)
		}
	}
	h = &apicontainer.HostConfig{PortBindings: apinetwork.PortMap{p("80/icmp"): {{}}}}
	if _, err := wantedPorts(nil, h); !errdefs.IsInvalidArgument(err) {
		t.Errorf("protocol icmp: %v", err)
	}
}

func TestExposedPortsAreShownWithoutBindings(t *testing.T) {
	p := apinetwork.MustParsePort("80/tcp")
	m := portMap(&apicontainer.Config{ExposedPorts: apinetwork.PortSet{p: {}}}, &apicontainer.HostConfig{}, nil)
	if b, ok := m[p]; !ok || b != nil {
		t.Fatalf("got %v", m)
	}
}

func TestResolverFollowsDockersRules(t *testing.T) {
	host := "# comment\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nnameserver 2001:db8::1\ndomain a.example\nsearch b.example c.example\noptions ndots:2 edns0\n"
	for name, c := range map[string]struct {
		conf                     string
		h                        apicontainer.HostConfig
		servers, search, options []string
	}{
		"the host's, as far as a container reaches them": {
			host, apicontainer.HostConfig{}, []string{"192.0.2.1"}, []string{"b.example", "c.example"}, []string{"ndots:2", "edns0"},
		},
		"all of the host's in its network": {
			host,
			apicontainer.HostConfig{NetworkMode: "host"},
			[]string{"127.0.0.53", "::1", "192.0.2.1", "2001:db8::1"},
			[]string{"b.example", "c.example"},
			[]string{"ndots:2", "edns0"},
		},
		"the container's own": {
			host,
			apicontainer.HostConfig{DNS: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, DNSSearch: []string{"."}, DNSOptions: []string{"rotate"}},
			[]string{"198.51.100.1"},
			[]string{},
			[]string{"rotate"},
		},
		"public ones where the host has none": {"nameserver 127.0.0.1\n", apicontainer.HostConfig{}, fallbackServers(), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(path, []byte(c.conf), 0o600); err != nil {
				t.Fatal(err)
			}
			m := &Manager{resolvConf: path}
			var s container.NetworkState
			if err := m.resolve(&s, &c.h); err != nil {
				t.Fatal(err)
			}
			got := [][]string{s.Nameservers, s.Search, s.Options}
			if want := [][]string{c.servers, c.search, c.options}; !reflect.DeepEqual(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTheGatewayIsTheBestNetworkWithAWayOut(t *testing.T) {
	network := func(name string, internal bool, priority int, ifName string) join {
		s := &apinetwork.EndpointSettings{GwPriority: priority}
		if ifName != "" {
			s.DriverOpts = map[string]string{optIfName: ifName}
		}
		return join{record: record{Name: name, Driver: "bridge", Internal: internal}, settings: s}
	}
	for name, c := range map[string]struct {
		joins []join
		want  string
	}{
		"alone":              {[]join{network("own", false, 0, "")}, "own/eth0/gw"},
		"first by name":      {[]join{network("own", false, 0, ""), network("a", false, 0, ""), network("z", false, 0, "")}, "own/eth0 a/eth1/gw z/eth2"},
		"by priority":        {[]join{network("own", false, 0, ""), network("a", false, 0, ""), network("z", false, 9, "")}, "own/eth0 a/eth1 z/eth2/gw"},
		"not an internal":    {[]join{network("own", false, 0, ""), network("a", true, 9, "")}, "own/eth0/gw a/eth1"},
		"none":               {[]join{network("own", true, 0, "")}, "own/eth0"},
		"with chosen names":  {[]join{network("own", false, 0, ""), network("a", true, 0, "eth0")}, "own/eth1/gw a/eth0"},
		"with other's names": {[]join{network("own", false, 0, "lan"), network("a", true, 0, "")}, "own/lan/gw a/eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[string]join{}
			for _, j := range c.joins {
				all[j.record.Name] = j
			}
			js, err := arrange("own", all)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for i, j := range js {
				if i > 0 {
					got += " "
				}
				got += j.record.Name + "/" + j.ifName
				if j.gateway {
					got += "/gw"
				}
			}
			if got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzParseResolver(f *testing.F) {
	f.Add([]byte("nameserver 1.2.3.4\nsearch a b\noptions x\n"))
	f.Add([]byte("nameserver\n\n  search"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseResolver(data) })
}
