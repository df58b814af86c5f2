package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/strakehq/strake/core/container"
	sdk "github.com/strakehq/strake/sdk/network"
)

func TestAContainerOnTheDefaultNetworkIsReachedOnItsPort(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		s := r.attach(request("a", "default", publish(t, "80/tcp", "8080")))
		serve(t, s.NetNS, "a")
		answers(t, "127.0.0.1:8080", "a")
		e := s.Endpoints["bridge"]
		if e == nil || e.IPAddress.String() != "172.30.0.2" || e.Gateway.String() != "172.30.0.1" || e.IPPrefixLen != 16 || len(e.MacAddress) != 6 {
			t.Fatalf("endpoint is %+v", e)
		}
		if !slices.Equal(s.Addresses, []string{"172.30.0.2"}) || !slices.Equal(s.Nameservers, []string{"192.0.2.53"}) || !slices.Equal(s.Search, []string{"example.org"}) {
			t.Fatalf("state is %+v", s)
		}
		if got := s.Ports[apinetwork.MustParsePort("80/tcp")]; len(got) != 1 || got[0].HostPort != "8080" || got[0].HostIP.String() != "0.0.0.0" {
			t.Fatalf("ports are %+v", s.Ports)
		}
		if again := r.attach(request("a", "default", publish(t, "80/tcp", "8080"))); again.Endpoints["bridge"].EndpointID != e.EndpointID {
			t.Fatal("attaching again made another endpoint")
		}
		for range 2 {
			if err := r.Detach(t.Context(), id("a")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := call("127.0.0.1:8080"); err == nil {
			t.Fatal("the port answers after detaching")
		}
		r.nothingLeft()
	})
}

// nothingLeft demands that no namespace, record or endpoint is left.
func (r *rig) nothingLeft() {
	r.t.Helper()
	for _, dir := range []string{"netns", "network"} {
		entries, err := os.ReadDir(filepath.Join(r.dir, "run", dir))
		if err != nil || len(entries) > 0 {
			r.t.Fatalf("left in %s: %v, %v", dir, entries, err)
		}
	}
	left, err := r.driver.Driver().List(r.t.Context())
	if err != nil || len(left) > 0 {
		r.t.Fatalf("the driver has %v, %v", left, err)
	}
}

func TestHostAndNoneNeedNoDriver(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		h := r.attach(request("a", "host", publish(t, "80/tcp", "8080")))
		if h.NetNS != "" || h.Endpoints["host"] == nil || len(h.Ports) > 0 || !slices.Equal(h.Nameservers, []string{"127.0.0.1", "192.0.2.53"}) {
			t.Fatalf("host: %+v", h)
		}
		n := r.attach(request("b", "none", nil))
		inside(t, n.NetNS, func() error {
			all, err := net.Interfaces()
			for _, i := range all {
				// Kernels may add tunnel devices to every namespace.
				if i.Flags&net.FlagUp != 0 && i.Name != "lo" || i.Name == "lo" && i.Flags&net.FlagUp == 0 {
					return fmt.Errorf("interface %s has %s", i.Name, i.Flags)
				}
			}
			return err
		})
		for _, letter := range []string{"a", "b"} {
			if err := r.Detach(t.Context(), id(letter)); err != nil {
				t.Fatal(err)
			}
		}
		r.nothingLeft()
	})
}

func TestUserDefinedNetworks(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		c, err := r.Create(ctx, apinetwork.CreateRequest{
			Name: "web", Labels: map[string]string{"tier": "front"},
			IPAM: &apinetwork.IPAM{Config: []apinetwork.IPAMConfig{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Create(ctx, apinetwork.CreateRequest{Name: "back"}); err != nil {
			t.Fatal(err)
		}
		q := request("a", "web", publish(t, "80/tcp", "8080"))
		q.Endpoints = map[string]*apinetwork.EndpointSettings{
			c.ID[:10]: {Aliases: []string{"www"}, IPAMConfig: &apinetwork.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.9.0.77")}},
			"back":    {},
		}
		s := r.attach(q)
		web := s.Endpoints["web"]
		if web == nil || s.Endpoints["back"] == nil || web.IPAddress.String() != "10.9.0.77" || !slices.Equal(web.DNSNames, []string{"a", "www", id("a")[:12], "host-a"}) {
			t.Fatalf("endpoints are %+v", s.Endpoints)
		}
		inside(t, s.NetNS, func() error {
			for _, name := range []string{"eth0", "eth1"} {
				if _, err := net.InterfaceByName(name); err != nil {
					return err
				}
			}
			return nil
		})
		serve(t, s.NetNS, "a")
		answers(t, "127.0.0.1:8080", "a")
		n, err := r.Inspect(ctx, "web", false)
		if err != nil || n.Containers[id("a")].Name != "a" || n.Containers[id("a")].IPv4Address.String() != "10.9.0.77/24" {
			t.Fatalf("inspect: %+v, %v", n, err)
		}
		if err := r.Remove(ctx, "web"); !errdefs.IsPermissionDenied(err) {
			t.Fatalf("remove a network in use: %v", err)
		}
		if err := r.Detach(ctx, id("a")); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove(ctx, c.ID[:6]); err != nil {
			t.Fatal(err)
		}
		if report, err := r.Prune(ctx, nil); err != nil || !slices.Equal(report.NetworksDeleted, []string{"back"}) {
			t.Fatalf("prune: %v, %v", report, err)
		}
		if all, err := r.List(ctx, nil); err != nil || len(all) != 3 {
			t.Fatalf("list: %v, %v", all, err)
		}
		r.nothingLeft()
	})
}

func TestANewDaemonFindsItsContainers(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		s := r.attach(request("a", "bridge", publish(t, "80/tcp", "8080")))
		serve(t, s.NetNS, "a")
		r.attach(request("b", "bridge", nil))
		// Docker's client names the driver; it is the default's own name.
		if _, err := r.Create(ctx, apinetwork.CreateRequest{Name: "named", Driver: "bridge"}); err != nil {
			t.Fatal(err)
		}
		r.attach(request("f", "named", nil))
		before, err := r.Inspect(ctx, "bridge", false)
		if err != nil {
			t.Fatal(err)
		}
		// What a killed daemon leaves half made: an attachment without end,
		// a namespace without record.
		half := attachment{ID: id("c"), Boot: r.boot, NetNS: r.pins.path(id("c"))}
		if err := r.pins.make(id("c"), nil); err != nil {
			t.Fatal(err)
		}
		if err := r.files.write(&half); err != nil {
			t.Fatal(err)
		}
		if err := r.pins.make(id("d"), nil); err != nil {
			t.Fatal(err)
		}
		other := attachment{ID: id("e"), Boot: "another boot", Done: true}
		if err := r.files.write(&other); err != nil {
			t.Fatal(err)
		}
		r.restart()
		answers(t, "127.0.0.1:8080", "a")
		got, err := r.Recover(ctx, id("a"))
		if err != nil || got.Endpoints["bridge"].EndpointID != s.Endpoints["bridge"].EndpointID {
			t.Fatalf("recover: %+v, %v", got, err)
		}
		after, err := r.Inspect(ctx, "bridge", false)
		if err != nil || after.ID != before.ID || len(after.Containers) != 2 {
			t.Fatalf("inspect: %+v, %v", after, err)
		}
		left, err := r.driver.Driver().List(ctx)
		if err != nil || len(left) != 3 {
			t.Fatalf("the driver has %v, %v, want the endpoints of a, b and f", left, err)
		}
		if _, err := r.Recover(ctx, id("e")); !errdefs.IsNotFound(err) {
			t.Fatalf("recover one of another boot: %v", err)
		}
		if err := r.Keep(ctx, func(c string) bool { return c == id("a") }); err != nil {
			t.Fatal(err)
		}
		for letter, want := range map[string]bool{"a": true, "b": false, "c": false, "d": false, "f": false} {
			if isNetNS(r.pins.path(id(letter))) != want {
				t.Errorf("namespace of %s is there: %v", letter, !want)
			}
		}
		answers(t, "127.0.0.1:8080", "a")
	})
}

func TestADriverThatLostEverythingIsToldAgain(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		s := r.attach(request("a", "bridge", publish(t, "80/tcp", "8080")))
		serve(t, s.NetNS, "a")
		if err := r.driver.Kill(); err != nil {
			t.Fatal(err)
		}
		answers(t, "127.0.0.1:8080", "a")
		for _, dir := range []string{r.conf.StateDir, r.conf.RunDir} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.driver.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.Recovered(t.Context(), "bridge"); err != nil {
			t.Fatal(err)
		}
		answers(t, "127.0.0.1:8080", "a")
		// Now driver and daemon both start anew, and the run directory of the
		// driver is gone once more.
		if err := errors.Join(os.RemoveAll(r.conf.RunDir), os.Mkdir(r.conf.RunDir, 0o700), r.driver.Kill()); err != nil {
			t.Fatal(err)
		}
		r.restart()
		if _, err := r.Recover(t.Context(), id("a")); err != nil {
			t.Fatal(err)
		}
		answers(t, "127.0.0.1:8080", "a")
		if b := r.attach(request("b", "bridge", nil)); b.Addresses[0] == s.Addresses[0] {
			t.Fatalf("address %s was given out twice", b.Addresses[0])
		}
	})
}

func TestAFailedAttachLeavesNothing(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		l, err := net.Listen("tcp4", ":8080")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = r.Attach(t.Context(), request("a", "bridge", publish(t, "80/tcp", "8080")))
		if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "failed to bind host port 0.0.0.0:8080/tcp: address already in use") {
			t.Fatalf("attach: %v", err)
		}
		r.nothingLeft()
		r.attach(request("b", "bridge", publish(t, "80/tcp", "8081")))
		_, err = r.Attach(t.Context(), request("c", "bridge", publish(t, "80/tcp", "8081")))
		if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "Bind for 0.0.0.0:8081 failed: port is already allocated") {
			t.Fatalf("attach: %v", err)
		}
	})
}

func TestNamespacesGoInCopiesOfTheMountTableToo(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		s := r.attach(request("a", "none", nil))
		// A shim has a copy of the mount table whose root is a slave.
		stop := make(chan struct{})
		copied := make(chan error, 1)
		gone := make(chan error, 1)
		go func() {
			inside(t, "/proc/self/ns/net", func() error {
				err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
				if err == nil {
					err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
				}
				copied <- err
				<-stop
				if isNetNS(s.NetNS) {
					gone <- fmt.Errorf("%s is still pinned in the copy", s.NetNS)
				}
				close(gone)
				return nil
			})
		}()
		if err := <-copied; err != nil {
			t.Fatal(err)
		}
		if err := r.Detach(t.Context(), id("a")); err != nil {
			t.Fatal(err)
		}
		close(stop)
		if err := <-gone; err != nil {
			t.Fatal(err)
		}
	})
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		if _, err := r.Create(ctx, apinetwork.CreateRequest{Name: "auto"}); err != nil {
			t.Fatal(err)
		}
		static := func(a string) map[string]*apinetwork.EndpointSettings {
			return map[string]*apinetwork.EndpointSettings{"": {IPAMConfig: &apinetwork.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(a)}}}
		}
		for _, c := range []struct {
			mode  string
			ends  map[string]*apinetwork.EndpointSettings
			ports string
			class error
			text  string
		}{
			{"nosuch", nil, "", errdefs.ErrNotFound, "network nosuch not found"},
			{"bridge", static("172.30.0.9"), "", errdefs.ErrInvalidArgument, "user specified IP address is supported on user defined networks only"},
			{"auto", static("172.29.0.9"), "", errdefs.ErrInvalidArgument, "user configured subnets"},
			{"none", map[string]*apinetwork.EndpointSettings{"auto": {}}, "", errdefs.ErrInvalidArgument, "multiple networks"},
			{"bridge", nil, "70000", errdefs.ErrInvalidArgument, "invalid port specification"},
			{"bridge", nil, "9000-8000", errdefs.ErrInvalidArgument, "invalid port specification"},
			{"container:x", nil, "80", errdefs.ErrInvalidArgument, "port publishing and the container type network mode"},
		} {
			h := &apicontainer.HostConfig{NetworkMode: apicontainer.NetworkMode(c.mode)}
			if c.ports != "" {
				publish(t, "80/tcp", c.ports)(nil, h)
			}
			n := &apinetwork.NetworkingConfig{EndpointsConfig: map[string]*apinetwork.EndpointSettings{}}
			for name, s := range c.ends {
				if name == "" {
					name = c.mode
				}
				n.EndpointsConfig[name] = s
			}
			err := r.Plan(ctx, h, n)
			if err == nil || !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s %v %s: got %v, want %v with %q", c.mode, c.ends, c.ports, err, c.class, c.text)
			}
		}
		for _, c := range []struct {
			r     apinetwork.CreateRequest
			class error
		}{
			{apinetwork.CreateRequest{Name: "bridge"}, errdefs.ErrPermissionDenied},
			{apinetwork.CreateRequest{Name: "auto"}, errdefs.ErrConflict},
			{apinetwork.CreateRequest{Name: "../x"}, errdefs.ErrInvalidArgument},
			{apinetwork.CreateRequest{Name: "x", Scope: "swarm"}, errdefs.ErrInvalidArgument},
			{apinetwork.CreateRequest{Name: "x", Options: map[string]string{"no.such": "1"}}, errdefs.ErrInvalidArgument},
			{apinetwork.CreateRequest{Name: "x", IPAM: &apinetwork.IPAM{Config: []apinetwork.IPAMConfig{{Subnet: netip.MustParsePrefix("172.30.5.0/24")}}}}, errdefs.ErrConflict},
		} {
			if _, err := r.Create(ctx, c.r); !errors.Is(err, c.class) {
				t.Errorf("create %+v: got %v, want %v", c.r, err, c.class)
			}
		}
		for _, name := range []string{"bridge", "host", "none"} {
			if err := r.Remove(ctx, name); !errdefs.IsPermissionDenied(err) {
				t.Errorf("remove %s: %v", name, err)
			}
		}
		if all, err := r.List(ctx, nil); err != nil || len(all) != 4 {
			t.Errorf("failed creations left something: %v, %v", all, err)
		}
	})
}

// attachToOneOfTwo makes the networks one and two, and has a container on the
// first serve on port 8080.
func (r *rig) attachToOneOfTwo() (container.NetworkRequest, container.NetworkState) {
	r.t.Helper()
	for _, name := range []string{"one", "two"} {
		if _, err := r.Create(r.t.Context(), apinetwork.CreateRequest{Name: name}); err != nil {
			r.t.Fatal(err)
		}
	}
	q := request("a", "one", publish(r.t, "80/tcp", "8080"))
	s := r.attach(q)
	serve(r.t, s.NetNS, "a")
	return q, s
}

func TestARunningContainerJoinsAndLeavesNetworks(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		q, s := r.attachToOneOfTwo()
		peer := r.attach(request("b", "two", nil))
		s, err := r.Join(ctx, q, "two", &apinetwork.EndpointSettings{Aliases: []string{"www"}})
		if err != nil {
			t.Fatal(err)
		}
		two := s.Endpoints["two"]
		if two == nil || !slices.Contains(two.DNSNames, "www") || len(s.Addresses) != 2 {
			t.Fatalf("joined: %+v", s)
		}
		inside(t, peer.NetNS, func() error {
			got, err := call(two.IPAddress.String() + ":80")
			if got != "a" {
				return fmt.Errorf("a answers %q on the joined network: %w", got, err)
			}
			return nil
		})
		if _, err := r.Join(ctx, q, "two", nil); !errdefs.IsPermissionDenied(err) {
			t.Fatalf("join again: %v", err)
		}
		// The other network takes over the default route and the ports.
		s, err = r.Leave(ctx, q, "one")
		if err != nil {
			t.Fatal(err)
		}
		if s.Endpoints["one"] != nil || s.Endpoints["two"].IPAddress != two.IPAddress {
			t.Fatalf("left: %+v", s)
		}
		answers(t, "127.0.0.1:8080", "a")
		r.restart()
		if got, err := r.Recover(ctx, id("a")); err != nil || len(got.Endpoints) != 1 {
			t.Fatalf("recover: %+v, %v", got, err)
		}
		if s, err = r.Join(ctx, q, "one", nil); err != nil || s.Endpoints["one"] == nil {
			t.Fatalf("join the first again: %+v, %v", s, err)
		}
		if _, err := r.Leave(ctx, q, "bridge"); !errdefs.IsPermissionDenied(err) {
			t.Fatalf("leave a network that it is not on: %v", err)
		}
		if _, err := r.Join(ctx, q, "none", nil); !errdefs.IsPermissionDenied(err) {
			t.Fatalf("join none: %v", err)
		}
	})
}

// A driver is killed after it has detached an endpoint, and before its caller
// has written that down.
func TestARelaunchedDriverIsNotHandedWhatWasLeft(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		q, _ := r.attachToOneOfTwo()
		if _, err := r.Join(ctx, q, "two", nil); err != nil {
			t.Fatal(err)
		}
		r.detached = func() {
			if err := errors.Join(r.driver.Kill(), r.Recovered(ctx, "bridge")); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.Leave(ctx, q, "one"); err != nil {
			t.Fatal(err)
		}
		answers(t, "127.0.0.1:8080", "a")
		if err := r.Remove(ctx, "one"); err != nil {
			t.Fatalf("the network that was left: %v", err)
		}
		if err := r.Detach(ctx, id("a")); err != nil {
			t.Fatal(err)
		}
		r.nothingLeft()
	})
}

// A daemon is killed when the driver has made the endpoint of one more network,
// and before it has written that down.
func TestAJoinThatTheDaemonDidNotFinishIsTakenBack(t *testing.T) {
	isolated(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		q, s := r.attachToOneOfTwo()
		if _, err := r.Join(ctx, q, "two", nil); err != nil {
			t.Fatal(err)
		}
		a, _ := r.attachment(id("a"))
		half := *a
		half.State, half.Endpoints = s, slices.Clone(a.Endpoints)
		for i, e := range half.Endpoints {
			if e.Network == "two" {
				half.Endpoints[i].Made = sdk.Attachment{}
			}
		}
		if err := r.files.write(&half); err != nil {
			t.Fatal(err)
		}
		r.restart()
		if got, err := r.Recover(ctx, id("a")); err != nil || len(got.Endpoints) != 1 || got.Endpoints["one"] == nil {
			t.Errorf("recover: %+v, %v", got, err)
		}
		if made, err := r.driver.Driver().List(ctx); err != nil || len(made) != 1 {
			t.Errorf("the driver has %v, %v, want one endpoint", made, err)
		}
		answers(t, "127.0.0.1:8080", "a")
		if got, err := r.Join(ctx, q, "two", nil); err != nil || got.Endpoints["two"] == nil {
			t.Errorf("join again: %+v, %v", got, err)
		}
	})
}
