package network

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/container"
)

// resolvedConf is where systemd-resolved writes the servers behind its stub.
const resolvedConf = "/run/systemd/resolve/resolv.conf"

// fallbackServers are Docker's, for a host that has only name servers on its
// loopback interface, which a container cannot reach.
func fallbackServers() []string { return []string{"8.8.8.8", "8.8.4.4"} }

// resolver is what a resolv.conf says.
type resolver struct{ servers, search, options []string }

// resolve fills in the container's resolver settings by Docker's rules: the
// host's, overridden one by one by the container's own.
func (m *Manager) resolve(s *container.NetworkState, h *apicontainer.HostConfig) error {
	host, err := m.hostResolver(h.NetworkMode.IsHost())
	if err != nil {
		return err
	}
	s.Nameservers, s.Search, s.Options = host.servers, host.search, host.options
	if len(h.DNS) > 0 {
		s.Nameservers = nil
		for _, a := range h.DNS {
			s.Nameservers = append(s.Nameservers, a.String())
		}
	}
	if len(h.DNSSearch) > 0 {
		s.Search = slices.DeleteFunc(slices.Clone(h.DNSSearch), func(d string) bool { return d == "." })
	}
	if len(h.DNSOptions) > 0 {
		s.Options = h.DNSOptions
	}
	return nil
}

func (m *Manager) hostResolver(hostMode bool) (resolver, error) {
	r, err := readResolver(m.resolvConf)
	if err != nil || hostMode {
		return r, err
	}
	reachable := reachableServers(r.servers)
	if len(reachable) == 0 && slices.Contains(r.servers, "127.0.0.53") {
		behind, err := readResolver(resolvedConf)
		if err != nil {
			return r, err
		}
		reachable = reachableServers(behind.servers)
	}
	if len(reachable) == 0 {
		reachable = fallbackServers()
	}
	r.servers = reachable
	return r, nil
}

// reachableServers drops those on the host's loopback interface, and IPv6 ones
// while containers have no IPv6.
func reachableServers(servers []string) []string {
	var out []string
	for _, s := range servers {
		if a, err := netip.ParseAddr(s); err == nil && a.Is4() && !a.IsLoopback() {
			out = append(out, s)
		}
	}
	return out
}

func readResolver(path string) (resolver, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return resolver{}, nil
	}
	if err != nil {
		return resolver{}, fmt.Errorf("resolver configuration of the host: %w", err)
	}
	return parseResolver(data), nil
}

func parseResolver(data []byte) resolver {
	var r resolver
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.servers = append(r.servers, f[1])
		case "search", "domain":
			r.search = f[1:] // the last one counts, resolv.conf(5)
		case "options":
			r.options = append(r.options, f[1:]...)
		}
	}
	return r
}
