package container

import (
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/sdk/runtime"
)

// logOf reads the limits of a log configuration.
func logOf(c container.LogConfig) (l runtime.Log, err error) {
	l.MaxFiles = 1
	if s := c.Config["max-size"]; s != "" && s != "-1" {
		if l.MaxSize, err = units.FromHumanSize(s); err != nil || l.MaxSize <= 0 {
			return l, invalid("invalid log opt max-size=%s: want a size such as 10m", s)
		}
	}
	if s := c.Config["max-file"]; s != "" {
		if l.MaxFiles, err = strconv.Atoi(s); err != nil || l.MaxFiles < 1 {
			return l, invalid("invalid log opt max-file=%s: max-file cannot be less than 1", s)
		}
		if l.MaxSize == 0 && l.MaxFiles > 1 {
			return l, invalid("cannot set max-file when max-size is not set")
		}
	}
	return l, nil
}

// logFor is the log of a container for its shim.
func (m *Manager) logFor(r record) (runtime.Log, error) {
	if r.Host.LogConfig.Type != logDriver {
		return runtime.Log{}, nil
	}
	l, err := logOf(r.Host.LogConfig)
	if err != nil {
		return l, err
	}
	l.Path = m.logPath(r)
	attrs := map[string]string{}
	for _, k := range splitList(r.Host.LogConfig.Config["labels"]) {
		if v, ok := r.Config.Labels[k]; ok {
			attrs[k] = v
		}
	}
	for _, k := range splitList(r.Host.LogConfig.Config["env"]) {
		for _, e := range r.Config.Env {
			if name, v, ok := strings.Cut(e, "="); ok && name == k {
				attrs[k] = v
			}
		}
	}
	if tag := r.Host.LogConfig.Config["tag"]; tag != "" {
		attrs["tag"] = strings.NewReplacer("{{.ID}}", short(r.ID), "{{.FullID}}", r.ID, "{{.Name}}", r.Name[1:], "{{.ImageName}}", r.Config.Image).Replace(tag)
	}
	if len(attrs) > 0 {
		l.Attrs = attrs
	}
	return l, nil
}

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// hostname of the machine, for containers that share its UTS namespace.
func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}
