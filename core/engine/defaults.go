package engine

import (
	"context"
	"net/netip"
	"strconv"

	units "github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/containers"
	"github.com/strakehq/strake/core/config"
	"github.com/strakehq/strake/core/container"
)

// defaults fills in what a request to create a container leaves open and the
// configuration has a word on. The container's record keeps the result.
type defaults struct {
	*container.Manager
	config config.Containers
}

var _ containers.Backend = defaults{}

// Create implements containers.Backend.
func (d defaults) Create(ctx context.Context, name, platform string, r apicontainer.CreateRequest) (apicontainer.CreateResponse, error) {
	if r.Config == nil {
		return d.Manager.Create(ctx, name, platform, r) // refuses it
	}
	if r.HostConfig == nil {
		r.HostConfig = &apicontainer.HostConfig{}
	}
	h := r.HostConfig
	d.log(&h.LogConfig)
	d.ulimits(h)
	d.resolver(h)
	if h.ShmSize == 0 {
		h.ShmSize = int64(d.config.ShmSize)
	}
	if h.Init == nil && d.config.Init {
		h.Init = &d.config.Init
	}
	if d.config.NoNewPrivileges && !h.Privileged {
		h.SecurityOpt = append(h.SecurityOpt, "no-new-privileges")
	}
	return d.Manager.Create(ctx, name, platform, r)
}

// log bounds the log of a container that says nothing of its size.
func (d defaults) log(l *apicontainer.LogConfig) {
	if l.Type != "" && l.Type != "json-file" || l.Config["max-size"] != "" || d.config.LogMaxSize == 0 {
		return
	}
	own := map[string]string{"max-size": strconv.FormatInt(int64(d.config.LogMaxSize), 10)}
	if d.config.LogMaxFiles > 1 {
		own["max-file"] = strconv.Itoa(d.config.LogMaxFiles)
	}
	for k, v := range l.Config {
		own[k] = v
	}
	l.Type, l.Config = "json-file", own
}

func (d defaults) ulimits(h *apicontainer.HostConfig) {
	given := map[string]bool{}
	for _, u := range h.Ulimits {
		given[u.Name] = true
	}
	for _, u := range d.config.Ulimits {
		if !given[u.Name] {
			h.Ulimits = append(h.Ulimits, (*units.Ulimit)(&u))
		}
	}
}

func (d defaults) resolver(h *apicontainer.HostConfig) {
	if len(h.DNS) == 0 {
		for _, a := range d.config.DNS {
			if ip, err := netip.ParseAddr(a); err == nil { // validated
				h.DNS = append(h.DNS, ip)
			}
		}
	}
	if len(h.DNSSearch) == 0 {
		h.DNSSearch = d.config.DNSSearch
	}
	if len(h.DNSOptions) == 0 {
		h.DNSOptions = d.config.DNSOptions
	}
}
