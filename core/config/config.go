// Package config is the daemon's one configuration file, /etc/strake/config.toml:
// its form, its defaults and what may stand in it.
//
// Load and Parse are strict: a key that nobody reads is an error, as is a value
// of the wrong type. Validate checks what the values mean. Both report every
// fault they find, each with file, line, column, key and what is allowed
// there. Whether a named driver exists and takes its options is found out by
// the driver host (core/driver), which has to ask the driver.
package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultPath is where the daemon looks for its configuration.
const DefaultPath = "/etc/strake/config.toml"

// Config is all that the daemon can be told. The zero value is not useful;
// Default, Parse and Load return one with defaults filled in.
type Config struct {
	// StateDir holds what survives a reboot, RunDir what does not.
	StateDir string `toml:"state_dir"`
	RunDir   string `toml:"run_dir"`
	// PluginDirs are searched for drivers and strake-shim, in order.
	PluginDirs []string `toml:"plugin_dirs"`
	// LogLevel is one of trace, debug, info, warn and error. LogFile empty
	// means standard error.
	LogLevel string `toml:"log_level"`
	LogFile  string `toml:"log_file"`
	// Hosts are the addresses of the API: unix:///path and tcp://host:port.
	// None means strake.sock in RunDir.
	Hosts []string `toml:"hosts"`
	// SocketGroup may use the unix sockets beside root.
	SocketGroup string `toml:"socket_group"`
	TLS         TLS    `toml:"tls"`
	// AllowUnauthenticatedTCP lets anybody who reaches a tcp host be root.
	AllowUnauthenticatedTCP bool `toml:"allow_unauthenticated_tcp"`
	// StopContainersOnExit stops containers when the daemon stops; else they
	// run on and the next daemon finds them.
	StopContainersOnExit bool `toml:"stop_containers_on_exit"`
	// ShutdownTimeout bounds an orderly end of the daemon.
	ShutdownTimeout Duration `toml:"shutdown_timeout"`
	// CgroupParent is the cgroup under which containers' cgroups are made.
	CgroupParent string `toml:"cgroup_parent"`
	// UsernsRemap has containers run in user namespaces with the subordinate
	// ids of a user: "default", user, or user:group. Empty: they do not.
	UsernsRemap string `toml:"userns_remap"`
	// Labels show in docker info, as key=value.
	Labels []string `toml:"labels"`
	// Containers are defaults for containers that do not say otherwise.
	Containers Containers `toml:"containers"`
	Images     Images     `toml:"images"`

	Storage  Driver `toml:"storage"`
	Runtime  Driver `toml:"runtime"`
	Network  Driver `toml:"network"`
	Registry Driver `toml:"registry"`
	// DefaultRuntime names [runtime] or one of Runtimes; empty is [runtime].
	DefaultRuntime string `toml:"default_runtime"`
	// Runtimes are further runtimes, by the name that --runtime uses.
	Runtimes map[string]Driver `toml:"runtimes"`
	// Networks are further network drivers, by the name that
	// network create --driver uses.
	Networks map[string]Driver `toml:"networks"`

	origin origin
}

// TLS names the PEM files of the tcp hosts. With CA, clients must show a
// certificate that it signed.
type TLS struct {
	CA   string `toml:"ca"`
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// Containers are defaults for containers.
type Containers struct {
	// LogMaxSize bounds one log file before it is rotated, LogMaxFiles how
	// many are kept, the current one counted.
	LogMaxSize  Size `toml:"log_max_size"`
	LogMaxFiles int  `toml:"log_max_files"`
	// Ulimits in the form name=soft[:hard].
	Ulimits []Ulimit `toml:"ulimits"`
	// DNS, DNSSearch and DNSOptions go to resolv.conf; none means the host's.
	DNS        []string `toml:"dns"`
	DNSSearch  []string `toml:"dns_search"`
	DNSOptions []string `toml:"dns_options"`
	// ShmSize is the size of /dev/shm.
	ShmSize Size `toml:"shm_size"`
	// Init runs an init inside every container; --init=false undoes it.
	Init bool `toml:"init"`
	// NoNewPrivileges sets no_new_privs for every container.
	NoNewPrivileges bool `toml:"no_new_privileges"`
}

// Images bounds what images from strangers may grow to.
type Images struct {
	// MaxLayerSize bounds one layer, as it is fetched and unpacked.
	MaxLayerSize Size `toml:"max_layer_size"`
	// MaxImageSize bounds all layers of one image together, and an archive
	// that is loaded.
	MaxImageSize Size `toml:"max_image_size"`
	// MaxLayerExpansion bounds how many bytes may come of each that the
	// manifest declares for a layer. Layers up to 1 GiB do not count.
	MaxLayerExpansion int64 `toml:"max_layer_expansion"`
}

// Driver says which binary serves a kind, and its options.
type Driver struct {
	// Driver is a name to look up in PluginDirs.
	Driver string `toml:"driver"`
	// Path names the binary itself. With Driver too, the binary must call
	// itself that.
	Path string `toml:"path"`
	// SHA256 of the binary in hexadecimal. It is not launched when it differs.
	SHA256 string `toml:"sha256"`
	// Options go to the driver, checked against the schema that it publishes.
	Options map[string]any `toml:"options"`
}

// InstanceName is what the daemon calls a driver that has no name of its own in
// the file: Driver or, with only a Path, what the file name says.
func (d Driver) InstanceName() string {
	if d.Driver != "" {
		return d.Driver
	}
	base := filepath.Base(d.Path)
	if rest, ok := strings.CutPrefix(base, "strake-"); ok {
		if _, name, ok := strings.Cut(rest, "-"); ok {
			return name
		}
		return rest
	}
	return base
}

// Default returns the configuration of a machine without a file.
func Default() *Config {
	c := base()
	c.complete()
	return c
}

// base holds the defaults that a file may override.
func base() *Config {
	return &Config{
		StateDir:        "/var/lib/strake",
		RunDir:          "/run/strake",
		LogLevel:        "info",
		SocketGroup:     "strake",
		CgroupParent:    "/strake",
		ShutdownTimeout: Duration(15 * time.Second),
		Containers: Containers{
			LogMaxSize:  20 << 20,
			LogMaxFiles: 5,
			ShmSize:     64 << 20,
		},
		Images: Images{MaxLayerSize: 128 << 30, MaxImageSize: 512 << 30, MaxLayerExpansion: 1100},
	}
}

// complete fills in what a file may leave out in part.
func (c *Config) complete() {
	for _, d := range []struct {
		have *Driver
		name string
	}{{&c.Storage, "overlay"}, {&c.Runtime, "runc"}, {&c.Network, "bridge"}, {&c.Registry, "http"}} {
		if d.have.Driver == "" && d.have.Path == "" {
			d.have.Driver = d.name
		}
	}
}

// SearchDirs returns PluginDirs or, when there are none, where drivers are
// installed: beside the running program and in the libexec directories.
func (c *Config) SearchDirs() []string {
	if len(c.PluginDirs) > 0 {
		return c.PluginDirs
	}
	dirs := []string{"/usr/local/libexec/strake", "/usr/libexec/strake"}
	if exe, err := os.Executable(); err == nil {
		dirs = append([]string{filepath.Dir(exe)}, dirs...)
	}
	return dirs
}

// APIHosts returns Hosts or, when there are none, the socket in RunDir.
func (c *Config) APIHosts() []string {
	if len(c.Hosts) > 0 {
		return c.Hosts
	}
	return []string{"unix://" + filepath.Join(c.RunDir, "strake.sock")}
}
