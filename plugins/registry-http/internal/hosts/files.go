package hosts

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// sources lists the directories that may say something about host, most
// specific first.
func (s *Set) sources(host string) []string {
	var out []string
	for _, root := range s.config.HostsDirs {
		for _, n := range dirNames(host) {
			out = append(out, filepath.Join(root, n))
		}
		out = append(out, filepath.Join(root, "_default"))
	}
	return append(out, s.certDirs(Address(host))...)
}

// certDirs are the directories of Docker's layout. containerd reads it in its
// own directories too, where they have no hosts.toml.
func (s *Set) certDirs(address string) []string {
	var out []string
	for _, root := range slices.Concat(s.config.CertsDirs, s.config.HostsDirs) {
		for _, n := range dirNames(address) {
			out = append(out, filepath.Join(root, n))
		}
	}
	return out
}

// dirNames are the names under which containerd looks: "host_5000_", then
// "host:5000".
func dirNames(host string) []string {
	if strings.ContainsAny(host, "/\\") || strings.HasPrefix(host, ".") {
		return nil
	}
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		return []string{host[:i] + "_" + host[i+1:] + "_", host}
	}
	return []string{host}
}

// stampOf changes when a file in one of the directories does.
func stampOf(dirs []string) string {
	var b strings.Builder
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if i, err := os.Stat(filepath.Join(d, e.Name())); err == nil {
				fmt.Fprintf(&b, "%s/%s:%d:%d;", d, e.Name(), i.Size(), i.ModTime().UnixNano())
			}
		}
	}
	return b.String()
}

// readHostsFile reads the first hosts.toml; nil when there is none.
func readHostsFile(dirs []string) (*hostsFile, string, error) {
	for _, d := range dirs {
		data, err := os.ReadFile(filepath.Join(d, "hosts.toml"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		f, err := parseHostsFile(data)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", filepath.Join(d, "hosts.toml"), err)
		}
		return f, d, nil
	}
	return nil, "", nil
}

// certsDirTLS reads Docker's layout: *.crt are authorities, *.cert with *.key
// client certificates.
func certsDirTLS(dirs []string, skipVerify bool) (*tls.Config, error) {
	var ca []string
	var pairs [][2]string
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			p := filepath.Join(d, e.Name())
			switch filepath.Ext(p) {
			case ".crt":
				ca = append(ca, p)
			case ".cert":
				pairs = append(pairs, [2]string{p, strings.TrimSuffix(p, ".cert") + ".key"})
			}
		}
	}
	return tlsConfig(ca, pairs, skipVerify)
}

func tlsConfig(ca []string, pairs [][2]string, skipVerify bool) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: skipVerify, //nolint:gosec // only for hosts that the configuration calls insecure
	}
	for _, p := range ca {
		pem, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		if c.RootCAs == nil {
			if c.RootCAs, err = x509.SystemCertPool(); err != nil {
				return nil, fmt.Errorf("system certificates: %w", err)
			}
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: holds no PEM certificate: %w", p, errdefs.ErrInvalidArgument)
		}
	}
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(p[0], p[1])
		if err != nil {
			return nil, fmt.Errorf("client certificate %s with key %s: %w: %w", p[0], p[1], err, errdefs.ErrInvalidArgument)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c, nil
}
