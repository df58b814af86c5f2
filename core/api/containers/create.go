package containers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/version"
)

// createBody is a request of any version.
type createBody struct {
	container.CreateRequest
	// MacAddress was the container's before API 1.44, now its endpoint's.
	MacAddress network.HardwareAddr
}

// UnmarshalJSON reads both parts, of which the first would hide the second.
func (b *createBody) UnmarshalJSON(data []byte) error {
	old := struct{ MacAddress *network.HardwareAddr }{&b.MacAddress}
	if err := json.Unmarshal(data, &b.CreateRequest); err != nil {
		return err
	}
	return json.Unmarshal(data, &old)
}

func (s *routes) create(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	var body createBody
	if err := httpjson.Read(w, r, &body); err != nil {
		return err
	}
	if body.Config == nil {
		return errdefs.ErrInvalidArgument.WithMessage("config cannot be empty in order to create a container")
	}
	v, q := version.From(ctx), query.Of(r)
	if err := body.complete(v); err != nil {
		return err
	}
	platform := q.Get("platform")
	if v.Before(1, 41) {
		platform = ""
	}
	answer, err := s.backend.Create(ctx, q.Get("name"), platform, body.CreateRequest)
	if err != nil {
		return err
	}
	if answer.Warnings == nil {
		answer.Warnings = []string{}
	}
	return httpjson.Write(w, http.StatusCreated, answer)
}

// complete fills in what may be missing and gives an older client's request
// the meaning that it had in its version.
func (b *createBody) complete(v version.Version) error {
	if b.HostConfig == nil {
		b.HostConfig = &container.HostConfig{}
	}
	if b.NetworkingConfig == nil {
		b.NetworkingConfig = &network.NetworkingConfig{}
	}
	h := b.HostConfig
	if v.Before(1, 40) && h.IpcMode.IsEmpty() {
		h.IpcMode = container.IPCModeShareable
	}
	if v.Before(1, 42) {
		h.ConsoleSize = [2]uint{}
	}
	if v.Before(1, 43) {
		h.Annotations = nil
	}
	if v.Before(1, 44) {
		if b.Healthcheck != nil {
			b.Healthcheck.StartInterval = 0
		}
		if names := endpointNames(b.NetworkingConfig); len(names) > 1 {
			return errdefs.ErrInvalidArgument.WithMessage("Container cannot be created with multiple network endpoints: " + strings.Join(names, ", "))
		}
	}
	return b.moveMAC(v)
}

// moveMAC gives the container's address to the endpoint of its main network.
func (b *createBody) moveMAC(v version.Version) error {
	if len(b.MacAddress) == 0 || !v.Before(1, 52) {
		return nil
	}
	mode := b.HostConfig.NetworkMode
	if !mode.IsDefault() && !mode.IsBridge() && !mode.IsUserDefined() && mode != "" {
		return fmt.Errorf("conflicting options: mac-address and the network mode %q: %w", mode, errdefs.ErrInvalidArgument)
	}
	name := mode.NetworkName()
	if mode == "" {
		name = network.NetworkDefault
	}
	n := b.NetworkingConfig
	if n.EndpointsConfig == nil {
		n.EndpointsConfig = map[string]*network.EndpointSettings{}
	}
	if n.EndpointsConfig[name] == nil {
		n.EndpointsConfig[name] = &network.EndpointSettings{}
	}
	if e := n.EndpointsConfig[name]; len(e.MacAddress) == 0 {
		e.MacAddress = b.MacAddress
	}
	return nil
}

func endpointNames(n *network.NetworkingConfig) []string {
	names := make([]string, 0, len(n.EndpointsConfig))
	for name := range n.EndpointsConfig {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
