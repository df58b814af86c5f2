package plugin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	goplugin "github.com/hashicorp/go-plugin"
)

// ContractVersion is the major version of the contracts that this SDK speaks.
// Everything finer is a capability.
const ContractVersion = 1

// The environment of a driver's process, beside go-plugin's.
const (
	// envLifeline is "stdin" when standard input ends with the host.
	envLifeline = "STRAKE_LIFELINE"
	// envLogLevel is an hclog level.
	envLogLevel = "STRAKE_LOG_LEVEL"
	// envLogFormat is "json" when the log goes to the host line by line.
	envLogFormat = "STRAKE_LOG_FORMAT"
)

// pluginName is the one plugin of every set.
const pluginName = "driver"

func handshakeConfig() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{MagicCookieKey: "STRAKE_DRIVER", MagicCookieValue: "5d1b9bb6"}
}

// checkHandshake finds out from a handshake line whether a driver's contract
// version suits the host. Lines that are none are left to go-plugin.
func checkHandshake(line string) error {
	fields := strings.Split(strings.TrimSpace(line), "|")
	if len(fields) < 5 {
		return nil
	}
	v, err := strconv.Atoi(fields[1])
	switch {
	case err != nil:
		return fmt.Errorf("its handshake names contract version %q: %w", fields[1], errdefs.ErrFailedPrecondition)
	case v == ContractVersion:
		return nil
	case v > ContractVersion:
		return fmt.Errorf("it needs contract version %d, this host speaks %d: upgrade Strake or use an older driver: %w",
			v, ContractVersion, errdefs.ErrFailedPrecondition)
	default:
		return fmt.Errorf("it speaks contract version %d, this host needs %d: upgrade the driver: %w",
			v, ContractVersion, errdefs.ErrFailedPrecondition)
	}
}

// environment is what a driver gets from the host's: what programs need to find
// files and to reach a network, and nothing that might be secret.
func environment(host []string) []string {
	pass := []string{
		"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "XDG_RUNTIME_DIR", "DOCKER_CONFIG",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOTRACEBACK", "GOMEMLIMIT", "GOGC", "GOCOVERDIR", "GORACE",
	}
	var env []string
	for _, kv := range host {
		if name, _, _ := strings.Cut(kv, "="); slices.Contains(pass, name) {
			env = append(env, kv)
		}
	}
	return env
}
