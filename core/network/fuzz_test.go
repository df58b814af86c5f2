package network

import (
	"encoding/json"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// FuzzPorts reads the ports of a create request.
func FuzzPorts(f *testing.F) {
	f.Add([]byte(`{"80/tcp":{}}`), []byte(`{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}],"53/udp":[{"HostPort":"8000-8010"}]}`))
	f.Add([]byte(`{"0/tcp":{},"70000":{}}`), []byte(`{"80":[{"HostPort":"0"}],"1/icmp":[]}`))
	f.Add([]byte(`{"1-3/sctp":{}}`), []byte(`{"80/tcp":[{"HostIp":"::","HostPort":"65536"},{"HostPort":"9-1"}]}`))
	f.Fuzz(func(t *testing.T, exposed, bindings []byte) {
		c, h := &container.Config{}, &container.HostConfig{PublishAllPorts: true}
		if json.Unmarshal(exposed, &c.ExposedPorts) != nil || json.Unmarshal(bindings, &h.PortBindings) != nil {
			return
		}
		ports, err := wantedPorts(c, h)
		if err != nil {
			return
		}
		for _, p := range ports {
			if p.ContainerPort == 0 || p.HostPortEnd != 0 && p.HostPortEnd < p.HostPort {
				t.Errorf("let %+v through", p)
			}
		}
		portMap(c, h, ports)
	})
}
