package bridge

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/sdk/network"
)

// Docker's options of bridge networks that the driver knows.
const (
	optDefault    = "com.docker.network.bridge.default_bridge"
	optName       = "com.docker.network.bridge.name"
	optICC        = "com.docker.network.bridge.enable_icc"
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optHostIP     = "com.docker.network.bridge.host_binding_ipv4"
	optMTU        = "com.docker.network.driver.mtu"
)

// defaultName is the name of the network that gets the default bridge.
const defaultName = "bridge"

// options applies a network's options and says whether it is the default
// network: by its name, which users cannot give, or by Docker's option.
func (n *netState) options(r network.Network, defaultBridge string) (isDefault bool, err error) {
	opts := r.Options
	isDefault = r.Name == defaultName
	for _, key := range slices.Sorted(maps.Keys(opts)) {
		v := opts[key]
		var err error
		switch key {
		case optDefault:
			isDefault, err = strconv.ParseBool(v)
		case optName:
			err = n.setBridge(v)
		case optICC:
			n.ICC, err = strconv.ParseBool(v)
		case optMasquerade:
			n.Masquerade, err = strconv.ParseBool(v)
		case optHostIP:
			n.HostIP, err = netip.ParseAddr(v)
		case optMTU:
			n.MTU, err = strconv.Atoi(v)
		default:
			known := []string{optDefault, optName, optICC, optMasquerade, optHostIP, optMTU}
			return false, fmt.Errorf("unknown option %q, known are %s: %w", key, strings.Join(known, ", "), errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return false, fmt.Errorf("option %s: value %q: %w: %w", key, v, err, errdefs.ErrInvalidArgument)
		}
	}
	if isDefault && opts[optName] == "" {
		n.Bridge = defaultBridge
	}
	if n.HostIP.IsUnspecified() {
		n.HostIP = netip.Addr{}
	}
	return isDefault, nil
}

func (n *netState) setBridge(name string) error {
	// as the kernel has it (dev_valid_name)
	bad := strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == ':' || r == 0 || unicode.IsSpace(r) })
	if len(name) < 1 || len(name) > 15 || name == "." || name == ".." || bad {
		return fmt.Errorf("want an interface name of 1 to 15 bytes, without blanks, slash or colon")
	}
	n.Bridge = name
	return nil
}

// checkID checks an id's form, which is also that of a file name.
func checkID(id string) error {
	ok := len(id) >= 1 && len(id) <= 64
	for _, c := range id {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_.-", c))
	}
	if !ok {
		return fmt.Errorf("id %q: want 1 to 64 of a-z A-Z 0-9 _ . -: %w", id, errdefs.ErrInvalidArgument)
	}
	return nil
}
