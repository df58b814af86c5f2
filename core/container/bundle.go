package container

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strakehq/strake/core/spec"
	"github.com/strakehq/strake/sdk/mishap"
)

// The files that a container gets from the daemon.
const (
	fileHosts    = "hosts"
	fileHostname = "hostname"
	fileResolv   = "resolv.conf"
)

// hostGateway in --add-host stands for the host as the container sees it.
const hostGateway = "host-gateway"

// fileSource is where a container's hosts, hostname and resolv.conf lie: with
// a shared network namespace, at its owner's.
func (m *Manager) fileSource(r record, name string) string {
	if r.Host.NetworkMode.IsContainer() {
		return m.file(r.Host.NetworkMode.ConnectedContainer(), name)
	}
	return m.file(r.ID, name)
}

// touchFiles makes what is missing of the files that writeFiles fills, and gives
// them to the container's root.
func (m *Manager) touchFiles(r record, ids *user.IdentityMapping) error {
	if err := errors.Join(letIn(ids, m.dir(r.ID)), letIn(ids, m.file(r.ID, "rootfs"))); err != nil {
		return err
	}
	if r.Host.NetworkMode.IsContainer() {
		return nil
	}
	for _, name := range []string{fileHosts, fileHostname, fileResolv} {
		f, err := os.OpenFile(m.file(r.ID, name), os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the container's users read it
		if err != nil {
			return err
		}
		err = f.Chown(rootOf(ids))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes hosts, hostname and resolv.conf. They are written in
// place, since a running container has them mounted.
func (m *Manager) writeFiles(r record, n NetworkState) error {
	if r.Host.NetworkMode.IsContainer() {
		return nil
	}
	hosts, err := hostsFile(r, n)
	if err != nil {
		return err
	}
	resolv, err := resolvFile(r, n)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(m.file(r.ID, fileHosts), hosts, 0o644),                             //nolint:gosec // the container's users read it
		os.WriteFile(m.file(r.ID, fileHostname), []byte(r.Config.Hostname+"\n"), 0o644), //nolint:gosec // as above
		os.WriteFile(m.file(r.ID, fileResolv), resolv, 0o644),                           //nolint:gosec // as above
	)
}

const localhosts = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

func hostsFile(r record, n NetworkState) ([]byte, error) {
	var b bytes.Buffer
	if r.Host.NetworkMode.IsHost() {
		host, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("hosts file: %w", err)
		}
		b.Write(host)
	} else {
		b.WriteString(localhosts)
	}
	for _, e := range r.Host.ExtraHosts {
		name, ip, ok := strings.Cut(e, ":")
		if !ok {
			name, ip, _ = strings.Cut(e, "=")
		}
		ip = strings.Trim(ip, "[]")
		if ip == hostGateway {
			if ip = gateway(n); ip == "" {
				return nil, invalid("unable to derive the IP value for host-gateway of add-host %q: no network of the container has a gateway", name)
			}
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip, name)
	}
	names := r.Config.Hostname
	if d := r.Config.Domainname; d != "" {
		names = names + "." + d + " " + names
	}
	for _, a := range n.Addresses {
		fmt.Fprintf(&b, "%s\t%s\n", bare(a), names)
	}
	return b.Bytes(), nil
}

// bare drops a prefix length.
func bare(addr string) string {
	a, _, _ := strings.Cut(addr, "/")
	return a
}

func gateway(n NetworkState) string {
	for _, e := range n.Endpoints {
		if e != nil && e.Gateway.IsValid() {
			return e.Gateway.String()
		}
	}
	return ""
}

func resolvFile(r record, n NetworkState) ([]byte, error) {
	servers, search, options := n.Nameservers, n.Search, n.Options
	if len(servers) == 0 {
		servers = texts(r.Host.DNS)
	}
	if len(search) == 0 {
		search = r.Host.DNSSearch
	}
	if len(options) == 0 {
		options = r.Host.DNSOptions
	}
	if len(servers)+len(search)+len(options) == 0 {
		b, err := os.ReadFile("/etc/resolv.conf")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("resolv.conf: %w", err)
		}
		return b, nil
	}
	var b bytes.Buffer
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(search) > 0 && (len(search) != 1 || search[0] != ".") {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.Bytes(), nil
}

func texts(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// input describes a container to the specification builder.
func (m *Manager) input(r record, netns string, user specs.User) (spec.Input, error) {
	in := spec.Input{
		ID: r.ID, Config: r.Config, Host: r.Host, Hostname: r.Config.Hostname,
		Args: append([]string{r.Path}, r.Args...), User: user,
		NetNS: netns, OwnNet: !r.Host.NetworkMode.IsContainer() && !r.Host.NetworkMode.IsHost(),
		CgroupsPath: strings.TrimRight(cmp.Or(r.Host.CgroupParent, m.cfg.CgroupParent), "/") + "/" + r.ID,
	}
	for _, p := range r.Mounts {
		in.Mounts = append(in.Mounts, p.spec())
	}
	for _, f := range []struct{ name, dest string }{{fileResolv, "/etc/resolv.conf"}, {fileHostname, "/etc/hostname"}, {fileHosts, "/etc/hosts"}} {
		if !hasMount(r.Mounts, f.dest) {
			in.Mounts = append(in.Mounts, spec.Mount{Source: m.fileSource(r, f.name), Destination: f.dest, ReadOnly: r.Host.ReadonlyRootfs})
		}
	}
	if err := m.joinNamespaces(r, &in); err != nil {
		return in, err
	}
	if r.Host.Init != nil && *r.Host.Init && r.Host.PidMode.IsPrivate() {
		path, err := m.initProgram()
		if err != nil {
			return in, err
		}
		in.InitPath = path
	}
	return in, nil
}

func hasMount(all []mountPoint, dest string) bool {
	for _, p := range all {
		if p.Destination == dest && p.Type != mount.TypeTmpfs {
			return true
		}
	}
	return false
}

func (m *Manager) writeSpec(r record, s *specs.Spec) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("container %s: specification: %w", short(r.ID), err)
	}
	// Not synced: it is made anew at every start.
	if err := os.WriteFile(m.file(r.ID, "config.json"), b, 0o600); err != nil {
		return fmt.Errorf("container %s: specification: %w", short(r.ID), err)
	}
	mishap.Hit(mishap.ContainerBundle)
	return nil
}
