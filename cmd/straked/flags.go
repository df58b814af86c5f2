package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strakehq/strake/core/config"
)

// options are the flags. Those that stand for a key of the configuration file
// override it.
type options struct {
	configPath string
	hosts      []string
	tls        bool
	tlsVerify  bool
	tlsCA      string
	tlsCert    string
	tlsKey     string
	stateDir   string
	runDir     string
	pluginDirs []string
	group      string
	logLevel   string
	logFile    string
	remap      string
	debug      bool
	pidFile    string
	validate   bool
	teardown   bool
}

func (o *options) register(f *pflag.FlagSet) {
	f.StringVar(&o.configPath, "config", config.DefaultPath, "Configuration file; need not exist unless it is named here")
	f.StringArrayVarP(&o.hosts, "host", "H", nil, "Address to listen on, unix:///path or tcp://address:port (repeatable)")
	f.BoolVar(&o.tls, "tls", false, "Use TLS on tcp hosts; implied by --tlsverify")
	f.BoolVar(&o.tlsVerify, "tlsverify", false, "Use TLS on tcp hosts and verify clients' certificates")
	f.StringVar(&o.tlsCA, "tlscacert", "", "Trust clients with certificates signed by this CA only")
	f.StringVar(&o.tlsCert, "tlscert", "", "Certificate of the daemon")
	f.StringVar(&o.tlsKey, "tlskey", "", "Key of the daemon's certificate")
	f.StringVar(&o.stateDir, "state-dir", "", "Directory of what survives a reboot")
	f.StringVar(&o.runDir, "run-dir", "", "Directory of what does not survive a reboot")
	f.StringArrayVar(&o.pluginDirs, "plugin-dir", nil, "Directory to search for drivers (repeatable)")
	f.StringVarP(&o.group, "group", "G", "", "Group that may use the unix socket")
	f.StringVar(&o.remap, "userns-remap", "", "Run containers in user namespaces with the subordinate ids of a user: default, user or user:group")
	f.StringVarP(&o.logLevel, "log-level", "l", "", "trace, debug, info, warn or error")
	f.StringVar(&o.logFile, "log-file", "", "Write the log to this file instead of standard error")
	f.BoolVarP(&o.debug, "debug", "D", false, "Short for --log-level debug")
	f.StringVarP(&o.pidFile, "pidfile", "p", "", "Write the daemon's pid to this file")
	f.BoolVar(&o.validate, "validate", false, "Check the configuration, the drivers and their options, and exit")
	f.BoolVar(&o.teardown, "teardown", false, "Remove all containers, networks and rules of a daemon that does not run, and exit")
}

// fromEnvironment gives every flag that was not set the value of its variable:
// STRAKED_LOG_LEVEL for --log-level.
func fromEnvironment(f *pflag.FlagSet) (err error) {
	f.VisitAll(func(fl *pflag.Flag) {
		name := envName(fl.Name)
		v, ok := os.LookupEnv(name)
		if !ok || fl.Changed || err != nil {
			return
		}
		if e := f.Set(fl.Name, v); e != nil {
			err = fmt.Errorf("environment variable %s: %w", name, e)
		}
	})
	return err
}

func envName(flag string) string {
	return "STRAKED_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// load reads the configuration file and lets flags override it.
func (o *options) load(f *pflag.FlagSet) (*config.Config, error) {
	c, err := config.Load(o.configPath, !f.Changed("config"))
	if err != nil {
		return nil, err
	}
	if o.debug && !f.Changed("log-level") {
		c.LogLevel = "debug"
	}
	for _, s := range []struct {
		flag, key string
		set       func()
	}{
		{"host", "hosts", func() { c.Hosts = o.hosts }},
		{"tlscacert", "tls.ca", func() { c.TLS.CA = o.tlsCA }},
		{"tlscert", "tls.cert", func() { c.TLS.Cert = o.tlsCert }},
		{"tlskey", "tls.key", func() { c.TLS.Key = o.tlsKey }},
		{"state-dir", "state_dir", func() { c.StateDir = o.stateDir }},
		{"run-dir", "run_dir", func() { c.RunDir = o.runDir }},
		{"plugin-dir", "plugin_dirs", func() { c.PluginDirs = o.pluginDirs }},
		{"group", "socket_group", func() { c.SocketGroup = o.group }},
		{"userns-remap", "userns_remap", func() { c.UsernsRemap = o.remap }},
		{"log-level", "log_level", func() { c.LogLevel = o.logLevel }},
		{"log-file", "log_file", func() { c.LogFile = o.logFile }},
	} {
		if f.Changed(s.flag) {
			s.set()
			c.Override(s.key, "flag --"+s.flag)
		}
	}
	if (o.tls || o.tlsVerify) && c.TLS.Cert == "" {
		return nil, fmt.Errorf("flag --tls: needs a certificate: give --tlscert and --tlskey, or cert and key in [tls] of %s", o.configPath)
	}
	if o.tlsVerify && c.TLS.CA == "" {
		return nil, fmt.Errorf("flag --tlsverify: needs --tlscacert, or ca in [tls] of %s", o.configPath)
	}
	return c, c.Validate()
}
