package hosts

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// hostsFile is containerd's hosts.toml
// (https://github.com/containerd/containerd/blob/main/docs/hosts.md).
type hostsFile struct {
	Server string              `toml:"server"`
	Hosts  map[string]hostFile `toml:"host"`
	hostFile

	order []string // keys of Hosts as written: the order of trial
}

type hostFile struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

func parseHostsFile(data []byte) (*hostsFile, error) {
	var f hostsFile
	if err := toml.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	f.order = tableOrder(data)
	return &f, nil
}

// tableOrder lists the keys of [host."…"] tables in the order of the file,
// which maps do not keep.
func tableOrder(data []byte) []string {
	var out []string
	seen := map[string]bool{}
	p := unstable.Parser{}
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table && e.Kind != unstable.KeyValue {
			continue
		}
		it := e.Key()
		if !it.Next() || string(it.Node().Data) != "host" || !it.Next() {
			continue
		}
		if k := string(it.Node().Data); !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// fromFile makes the endpoints of a hosts.toml: its hosts, then the server.
func (s *Set) fromFile(host string, f *hostsFile, dir string) ([]Endpoint, error) {
	var out []Endpoint
	for _, k := range f.order {
		h, ok := f.Hosts[k]
		if !ok {
			continue
		}
		e, err := s.fileEndpoint(k, h, dir)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", withoutSecrets(k), err)
		}
		e.Mirror, e.Namespace = true, host
		out = append(out, e)
	}
	server := f.Server
	if server == "" {
		server = Address(host)
	}
	e, err := s.fileEndpoint(server, f.hostFile, dir)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", withoutSecrets(server), err)
	}
	e.Namespace = host
	e.Mirror = e.Host != Address(host)
	return append(out, e), nil
}

func (s *Set) fileEndpoint(address string, h hostFile, dir string) (Endpoint, error) {
	base, err := parseBase(address)
	if err != nil {
		return Endpoint{}, err
	}
	e, err := s.plain(base.Host)
	if err != nil {
		return e, err
	}
	if base.Host != address { // a scheme was given
		e.Probe = false
	}
	e.Base = *base
	e.Base.Path = apiPath(base.Path, h.OverridePath)
	if err := h.applyTLS(&e, dir); err != nil {
		return e, err
	}
	return e, h.apply(&e)
}

func (h hostFile) apply(e *Endpoint) (err error) {
	if len(h.Capabilities) > 0 {
		e.Capabilities = 0
	}
	for _, c := range h.Capabilities {
		switch c {
		case "pull":
			e.Capabilities |= Pull
		case "resolve":
			e.Capabilities |= Resolve
		case "push":
			e.Capabilities |= Push
		default:
			return fmt.Errorf("capability %q: known are pull, resolve, push: %w", c, errdefs.ErrInvalidArgument)
		}
	}
	if h.DialTimeout != "" {
		if e.DialTimeout, err = time.ParseDuration(h.DialTimeout); err != nil {
			return fmt.Errorf("dial_timeout: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	e.Header = http.Header{}
	for k, v := range h.Header {
		values, err := stringList(v)
		if err != nil {
			return fmt.Errorf("header %q: %w", k, err)
		}
		e.Header[http.CanonicalHeaderKey(k)] = values
	}
	return nil
}

func (h hostFile) applyTLS(e *Endpoint, dir string) error {
	ca, err := stringList(h.CA)
	if err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	pairs, err := certPairs(h.Client)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if len(ca) == 0 && len(pairs) == 0 && h.SkipVerify == nil {
		return nil
	}
	for i := range ca {
		ca[i] = within(dir, ca[i])
	}
	for i := range pairs {
		pairs[i] = [2]string{within(dir, pairs[i][0]), within(dir, pairs[i][1])}
	}
	skip := e.TLS.InsecureSkipVerify && len(ca) == 0
	if h.SkipVerify != nil {
		skip = *h.SkipVerify
	}
	e.TLS, err = tlsConfig(ca, pairs, skip)
	return err
}

func within(dir, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// stringList reads a string or a list of strings.
func stringList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a string: %w", x, errdefs.ErrInvalidArgument)
			}
			out = append(out, s)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%v is neither a string nor a list of strings: %w", v, errdefs.ErrInvalidArgument)
	}
}

// certPairs reads "cert+key.pem", ["a.pem", "b.pem"] or [["a.cert", "a.key"]].
func certPairs(v any) ([][2]string, error) {
	list, isList := v.([]any)
	if !isList {
		files, err := stringList(v)
		if err != nil || len(files) == 0 {
			return nil, err
		}
		return [][2]string{{files[0], files[0]}}, nil
	}
	var out [][2]string
	for _, x := range list {
		files, err := stringList(x)
		if err != nil {
			return nil, err
		}
		switch {
		case len(files) == 1 || len(files) == 2 && files[1] == "":
			out = append(out, [2]string{files[0], files[0]})
		case len(files) == 2:
			out = append(out, [2]string{files[0], files[1]})
		default:
			return nil, fmt.Errorf("%v is not a certificate with its key: %w", x, errdefs.ErrInvalidArgument)
		}
	}
	return out, nil
}
