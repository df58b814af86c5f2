package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/registry-http/internal/client"
	"github.com/strakehq/strake/plugins/registry-http/internal/creds"
	"github.com/strakehq/strake/plugins/registry-http/internal/hosts"
	"github.com/strakehq/strake/sdk/version"
)

// schema describes options to the host.
//
//go:embed options.schema.json
var schema []byte

// options are the driver's options; options.schema.json documents them.
type options struct {
	Mirrors       map[string][]string `json:"mirrors"`
	Insecure      []string            `json:"insecure"`
	ConfigPath    string              `json:"config_path"`
	HostsDir      string              `json:"hosts_dir"`
	CertsDir      string              `json:"certs_dir"`
	AuthFile      string              `json:"auth_file"`
	HelperTimeout duration            `json:"helper_timeout"`
	DialTimeout   duration            `json:"dial_timeout"`
	StallTimeout  duration            `json:"stall_timeout"`
	Retries       *int                `json:"retries"`
	Backoff       duration            `json:"backoff"`
}

func defaults() options {
	return options{
		HostsDir:      "/etc/strake/certs.d:/etc/containerd/certs.d",
		CertsDir:      "/etc/docker/certs.d",
		AuthFile:      "/etc/strake/registry-auth.json:/root/.docker/config.json",
		HelperTimeout: duration(10 * time.Second),
		DialTimeout:   duration(10 * time.Second),
		StallTimeout:  duration(60 * time.Second),
		Backoff:       duration(250 * time.Millisecond),
	}
}

const defaultRetries = 4

func parseOptions(raw json.RawMessage) (options, error) {
	o := defaults()
	if len(raw) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			return o, fmt.Errorf("registry driver http: options: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	if o.ConfigPath != "" {
		o.HostsDir = o.ConfigPath
	}
	for name, d := range map[string]duration{
		"helper_timeout": o.HelperTimeout, "dial_timeout": o.DialTimeout, "stall_timeout": o.StallTimeout, "backoff": o.Backoff,
	} {
		if d <= 0 {
			return o, fmt.Errorf("registry driver http: option %s: must be longer than nothing: %w", name, errdefs.ErrInvalidArgument)
		}
	}
	return o, nil
}

func (o options) pool() (*hosts.Set, *client.Pool, error) {
	set, err := hosts.New(hosts.Config{
		Mirrors: o.Mirrors, Insecure: o.Insecure,
		HostsDirs: filepath.SplitList(o.HostsDir), CertsDirs: filepath.SplitList(o.CertsDir),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("registry driver http: option %w", err)
	}
	store := &creds.Store{
		Files: filepath.SplitList(o.AuthFile), HelperTimeout: time.Duration(o.HelperTimeout), HelperLife: time.Minute,
	}
	s := client.Settings{
		UserAgent: fmt.Sprintf("strake/%s (%s; %s)", version.Version, runtime.GOOS, runtime.GOARCH),
		Retries:   defaultRetries, Backoff: time.Duration(o.Backoff),
		DialTimeout: time.Duration(o.DialTimeout), StallTimeout: time.Duration(o.StallTimeout),
		Lookup: store.Lookup,
	}
	if o.Retries != nil {
		s.Retries = *o.Retries
	}
	return set, client.NewPool(s, set), nil
}

// duration is written "1m30s" in a config file.
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = duration(v)
	return err
}
