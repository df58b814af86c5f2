package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// endpoint is what inspect tells of a container in a network.
type endpoint struct {
	EndpointID, NetworkID, IPAddress, MacAddress string
	IPPrefixLen                                  int
}

func (e endpoint) address() string {
	return fmt.Sprintf("%s/%d %s", e.IPAddress, e.IPPrefixLen, e.MacAddress)
}

// checkNetwork compares what is told of networks and of containers in them with
// the host's links, with the containers' namespaces and with the records of the
// network driver, who gives an address to nobody else as long as it has one.
func (w *world) checkNetwork(all map[string]container) (wrong []string) {
	bridges, err := w.bridges()
	if err != nil {
		return []string{err.Error()}
	}
	links, networks, endpoints := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for id, gateway := range bridges {
		networks[id] = true
		links["network:"+id+" "+gateway] = true
	}
	for id, c := range all {
		if !c.alive() {
			continue
		}
		told := map[string]bool{}
		for _, e := range c.NetworkSettings.Networks {
			links["endpoint:"+e.EndpointID] = true
			endpoints[strings.Join([]string{e.EndpointID, e.NetworkID, id, e.address()}, " ")] = true
			told[e.address()] = true
		}
		have, err := addresses(c.State.Pid)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("namespace of %s: %v", c.Name, err))
		}
		wrong = append(wrong, apart("address in "+c.Name, have, told)...)
	}
	have, err := w.links()
	if err != nil {
		return append(wrong, err.Error())
	}
	wrong = append(wrong, apart("link", have, links)...)
	return append(wrong, w.checkNetworkRecords(networks, endpoints)...)
}

// bridges are the gateways' addresses by network.
func (w *world) bridges() (map[string]string, error) {
	var nets []struct {
		ID     string `json:"Id"`
		Driver string
		IPAM   struct {
			Config []struct{ Subnet, Gateway string }
		}
	}
	if err := w.api.get("/networks").into(&nets); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, n := range nets {
		if n.Driver != "bridge" {
			continue
		}
		if len(n.IPAM.Config) != 1 {
			return nil, fmt.Errorf("network %s has the subnets %v", n.ID, n.IPAM.Config)
		}
		_, bits, _ := strings.Cut(n.IPAM.Config[0].Subnet, "/")
		found[n.ID] = n.IPAM.Config[0].Gateway + "/" + bits
	}
	return found, nil
}

// links are those of the host: whose each is, with the addresses of bridges.
func (w *world) links() (map[string]bool, error) {
	have := map[string]bool{}
	err := w.h.Namespace().Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			switch a := l.Attrs(); a.Name {
			case "lo", "ext0", "ext1", "ifb0", "ifb1":
			default:
				f := strings.SplitN(a.Alias, ":", 3) // strake, the owner, what it is
				if len(f) < 3 {
					f = []string{"", "", a.Name}
				}
				addrs, addrErr := netlink.AddrList(l, netlink.FAMILY_V4)
				for _, a := range addrs {
					f[2] += " " + a.IPNet.String()
				}
				have[f[2]] = true
				err = errors.Join(err, addrErr)
			}
		}
		return err
	})
	return have, err
}

// addresses are those in a process's network namespace, with the hardware's.
func addresses(pid int) (found map[string]bool, err error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	found = map[string]bool{}
	for _, l := range links {
		if l.Attrs().Name == "lo" {
			continue
		}
		addrs, addrErr := h.AddrList(l, netlink.FAMILY_V4)
		for _, a := range addrs {
			found[a.IPNet.String()+" "+l.Attrs().HardwareAddr.String()] = true
		}
		err = errors.Join(err, addrErr)
	}
	return found, err
}

// checkNetworkRecords compares the network driver's records with what should
// have one.
func (w *world) checkNetworkRecords(networks, endpoints map[string]bool) (wrong []string) {
	run, state := w.h.Dir+"/run/drivers/network-bridge", w.h.Dir+"/state/drivers/network-bridge"
	wrong = append(wrong, apart("driver's record of a network", trimmed(listed(state+"/networks"), ".json"), networks)...)
	for id := range trimmed(listed(run+"/cursors"), ".json") {
		if !networks[id] {
			wrong = append(wrong, "driver's last address of a network that is not there: "+id)
		}
	}
	have := map[string]bool{}
	for name := range listed(run + "/endpoints") {
		var e struct {
			Want         struct{ Endpoint, Network, Container string }
			Address, MAC string
			Leaving      bool
		}
		text, err := os.ReadFile(filepath.Join(run, "endpoints", name))
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("endpoint %s: %v", name, err))
			continue
		}
		x := strings.Join([]string{strings.TrimSuffix(name, ".json"), e.Want.Network, e.Want.Container, e.Address, e.MAC}, " ")
		if e.Leaving {
			x += " (leaving)"
		}
		have[x] = true
	}
	return append(wrong, apart("driver's record of an endpoint", have, endpoints)...)
}
