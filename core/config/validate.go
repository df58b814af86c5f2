package config

import (
	"encoding/hex"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/strakehq/strake/core/userns"
)

// maxSocketPath is the longest path of a unix socket (sockaddr_un.sun_path,
// less the closing zero).
const maxSocketPath = 107

// Validate reports everything that is wrong with the values, as Errors. It
// looks at files that the values name, and changes nothing.
func (c *Config) Validate() error {
	v := validator{origin: c.origin}
	v.daemon(c)
	v.hosts(c)
	v.tls(c.TLS)
	v.containers(c.Containers)
	v.images(c.Images)
	v.drivers(c)
	return v.faults.err()
}

type validator struct {
	origin origin
	faults Errors
}

func (v *validator) fault(key, format string, args ...any) {
	v.faults = append(v.faults, v.origin.fault(key, format, args...))
}

func (v *validator) daemon(c *Config) {
	v.absolute("state_dir", c.StateDir)
	v.absolute("run_dir", c.RunDir)
	if c.StateDir == c.RunDir {
		v.fault("run_dir", "is %q as state_dir is, the two must differ", c.RunDir)
	}
	v.absolute("cgroup_parent", c.CgroupParent)
	if _, err := userns.Load(c.UsernsRemap); err != nil {
		v.fault("userns_remap", "%v", err)
	}
	for _, d := range c.PluginDirs {
		v.absolute("plugin_dirs", d)
	}
	if c.LogFile != "" {
		v.absolute("log_file", c.LogFile)
	}
	v.oneOf("log_level", c.LogLevel, "trace", "debug", "info", "warn", "error")
	for _, l := range c.Labels {
		if k, _, ok := strings.Cut(l, "="); !ok || k == "" {
			v.fault("labels", "%q is not of the form key=value", l)
		}
	}
}

func (v *validator) hosts(c *Config) {
	for _, h := range c.APIHosts() {
		scheme, addr, ok := strings.Cut(h, "://")
		switch {
		case ok && scheme == "unix":
			v.absolute("hosts", addr)
			if len(addr) > maxSocketPath {
				v.fault("hosts", "%q: the path of a unix socket has at most %d bytes, this one has %d; choose a shorter run_dir or host", h, maxSocketPath, len(addr))
			}
		case ok && scheme == "tcp":
			v.tcpHost(c, h, addr)
		default:
			v.fault("hosts", "%q is not an address, write unix:///path or tcp://address:port", h)
		}
	}
}

func (v *validator) tcpHost(c *Config, host, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		v.fault("hosts", "%q is not an address, write tcp://address:port", host)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		v.fault("hosts", "%q: port %q is not a number from 1 to 65535", host, port)
	}
	if !c.AllowUnauthenticatedTCP && (c.TLS.CA == "" || c.TLS.Cert == "" || c.TLS.Key == "") {
		v.fault("hosts", "%q: a tcp host needs mutual TLS: set ca, cert and key in [tls]. Without it everybody who reaches the port is root on this machine; to have that all the same, set allow_unauthenticated_tcp = true", host)
	}
}

func (v *validator) tls(t TLS) {
	for _, f := range []struct{ key, path string }{{"tls.ca", t.CA}, {"tls.cert", t.Cert}, {"tls.key", t.Key}} {
		if f.path == "" {
			continue
		}
		if fi, err := os.Stat(f.path); err != nil {
			v.fault(f.key, "%v", err)
		} else if !fi.Mode().IsRegular() {
			v.fault(f.key, "%q is not a file", f.path)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		v.fault("tls", "cert and key go together, one of them is missing")
	}
	if t.CA != "" && t.Cert == "" {
		v.fault("tls", "ca is set and the daemon's own cert and key are missing")
	}
}

func (v *validator) containers(c Containers) {
	const minLog = 4 << 10
	if c.LogMaxSize != 0 && c.LogMaxSize < minLog {
		v.fault("containers.log_max_size", "is below 4k; 0 means without bound")
	}
	if c.LogMaxFiles < 1 {
		v.fault("containers.log_max_files", "is %d, want 1 or more", c.LogMaxFiles)
	}
	if c.ShmSize < 1 {
		v.fault("containers.shm_size", "must be above 0")
	}
	for _, d := range c.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			v.fault("containers.dns", "%q is not an IP address", d)
		}
	}
}

func (v *validator) images(i Images) {
	if i.MaxLayerSize < 1 {
		v.fault("images.max_layer_size", "must be above 0")
	}
	if i.MaxImageSize < 1 {
		v.fault("images.max_image_size", "must be above 0")
	}
	if i.MaxLayerExpansion < 1 {
		v.fault("images.max_layer_expansion", "is %d, want 1 or more", i.MaxLayerExpansion)
	}
}

func (v *validator) drivers(c *Config) {
	v.driver("storage", c.Storage)
	v.driver("runtime", c.Runtime)
	v.driver("network", c.Network)
	v.driver("registry", c.Registry)
	v.named("runtimes", c.Runtime.InstanceName(), c.Runtimes)
	v.named("networks", c.Network.InstanceName(), c.Networks)
	if c.DefaultRuntime != "" {
		names := append(slices.Collect(maps.Keys(c.Runtimes)), c.Runtime.InstanceName())
		slices.Sort(names)
		v.oneOf("default_runtime", c.DefaultRuntime, slices.Compact(names)...)
	}
}

func (v *validator) named(table, first string, more map[string]Driver) {
	for _, name := range slices.Sorted(maps.Keys(more)) {
		key := join(table, name)
		if !validName(name) {
			v.fault(key, "%q is not a name: letters, digits, '-', '_' and '.', at most 64", name)
		}
		if name == first {
			v.fault(key, "is the name of the driver in [%s] already, choose another", strings.TrimSuffix(table, "s"))
		}
		if more[name].Driver == "" && more[name].Path == "" {
			v.fault(key, "needs driver or path")
			continue
		}
		v.driver(key, more[name])
	}
}

func (v *validator) driver(key string, d Driver) {
	if d.Driver != "" && !validName(d.Driver) {
		v.fault(key+".driver", "%q is not a driver's name: letters, digits, '-', '_' and '.', at most 64. A binary elsewhere is named by path", d.Driver)
	}
	if d.Path != "" {
		v.absolute(key+".path", d.Path)
	}
	if raw, err := hex.DecodeString(d.SHA256); err != nil || len(raw) != 0 && len(raw) != 32 {
		v.fault(key+".sha256", "is not 64 hexadecimal digits, as sha256sum prints them")
	}
}

func (v *validator) absolute(key, path string) {
	if !filepath.IsAbs(path) {
		v.fault(key, "%q is not an absolute path", path)
	}
}

func (v *validator) oneOf(key, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	v.fault(key, "%q is not known.%s Allowed: %s", value, suggest(value, allowed), strings.Join(allowed, ", "))
}

// validName says whether s may name a driver: it becomes part of paths.
func validName(s string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
	}
	return s != "" && len(s) <= 64 && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}
