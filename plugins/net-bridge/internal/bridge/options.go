package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/plugins/net-bridge/internal/firewall"
	"github.com/strakehq/strake/plugins/net-bridge/internal/hostport"
	"github.com/strakehq/strake/plugins/net-bridge/internal/ipam"
)

// schema is the JSON Schema of Options.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Options of the bridge network driver",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "bridge": {
      "description": "Name of the default network's bridge.",
      "type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,15}$", "default": "strake0"
    },
    "subnet": {
      "description": "IPv4 subnet of the default network, with the bridge's own address or without. Default: one of the pools.",
      "type": "string", "examples": ["172.30.0.1/16"]
    },
    "pools": {
      "description": "Address pools that automatic subnets are cut from, first to last.",
      "type": "array", "minItems": 1,
      "items": {
        "type": "object", "additionalProperties": false, "required": ["base", "size"],
        "properties": {
          "base": {"type": "string", "examples": ["10.201.0.0/16"]},
          "size": {"type": "integer", "minimum": 8, "maximum": 29}
        }
      }
    },
    "firewall": {
      "description": "How rules are put into the kernel.",
      "enum": ["auto", "nftables", "iptables"], "default": "auto"
    },
    "mtu": {
      "description": "MTU of bridges and containers' interfaces in bytes.",
      "type": "integer", "minimum": 576, "maximum": 65535, "default": 1500
    },
    "ip_forward": {
      "description": "Switch on net.ipv4.ip_forward when it is off. Without forwarding, containers reach the host and each other only.",
      "type": "boolean", "default": true
    },
    "ephemeral_ports": {
      "description": "Range of random host ports. Default: the kernel's net.ipv4.ip_local_port_range.",
      "type": "string", "pattern": "^[0-9]+-[0-9]+$", "examples": ["49153-65535"]
    }
  }
}`

// Options are the driver's options, see schema.
type Options struct {
	Bridge         string      `json:"bridge"`
	Subnet         string      `json:"subnet"`
	Pools          []ipam.Pool `json:"pools"`
	Firewall       string      `json:"firewall"`
	MTU            int         `json:"mtu"`
	IPForward      bool        `json:"ip_forward"`
	EphemeralPorts string      `json:"ephemeral_ports"`
}

// settings are options, checked and completed.
type settings struct {
	Options
	// subnet is the default network's, with the gateway's address when one
	// was given; zero: from the pools.
	subnet    netip.Prefix
	ephemeral hostport.Range
}

func parseOptions(raw json.RawMessage) (settings, error) {
	s := settings{Options: Options{
		Bridge: firewall.DefaultBridge, Pools: ipam.DefaultPools(), Firewall: autoFirewall, IPForward: true,
	}}
	if len(raw) > 0 {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s.Options); err != nil {
			return s, fmt.Errorf("options: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	for _, p := range s.Pools {
		if err := p.Validate(); err != nil {
			return s, fmt.Errorf("option pools: %w", err)
		}
	}
	return s.complete()
}

func (s settings) complete() (settings, error) {
	var err error
	if s.Subnet != "" {
		if s.subnet, err = netip.ParsePrefix(s.Subnet); err != nil || !s.subnet.Addr().Is4() {
			return s, fmt.Errorf("option subnet %q: want an IPv4 prefix such as 172.30.0.1/16: %w", s.Subnet, errdefs.ErrInvalidArgument)
		}
	}
	if s.EphemeralPorts == "" {
		s.ephemeral, err = hostport.KernelRange()
		return s, err
	}
	if s.ephemeral, err = hostport.ParseRange(s.EphemeralPorts); err != nil {
		return s, fmt.Errorf("option ephemeral_ports: %w", err)
	}
	return s, nil
}
