package events

import (
	"strings"

	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/core/filter"
)

// FilterNames are the filters that Subscribe understands.
func FilterNames() []string {
	return []string{"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service", "type", "volume"}
}

// Match says whether an event passes the filters.
func Match(f filter.Args, m events.Message) bool {
	return f.Any("type", func(v string) bool { return v == string(m.Type) }) &&
		f.Any("scope", func(v string) bool { return v == m.Scope }) &&
		f.Any("event", func(v string) bool { return matchAction(v, string(m.Action)) }) &&
		f.Any("image", func(v string) bool { return matchImage(v, m) }) &&
		f.Labels(m.Actor.Attributes) &&
		matchObjects(f, m)
}

// matchAction lets "exec_start" match "exec_start: sh -c true".
func matchAction(want, action string) bool {
	head, _, _ := strings.Cut(action, ":")
	return want == action || want == head
}

func matchObjects(f filter.Args, m events.Message) bool {
	for _, t := range []events.Type{
		events.ContainerEventType, events.NetworkEventType, events.VolumeEventType, events.DaemonEventType,
		events.PluginEventType, events.ServiceEventType, events.NodeEventType, events.SecretEventType, events.ConfigEventType,
	} {
		if !f.Any(string(t), func(v string) bool { return matchObject(v, t, m) }) {
			return false
		}
	}
	return true
}

// matchObject compares with the id, which may be shortened, and the name of
// the object that the event is about. An event about another kind of object
// matches when it names this one in an attribute, as network events do with
// containers.
func matchObject(want string, t events.Type, m events.Message) bool {
	name := m.Actor.Attributes["name"]
	if m.Type != t {
		return m.Actor.Attributes[string(t)] != "" && strings.HasPrefix(m.Actor.Attributes[string(t)], want)
	}
	return want == name || want != "" && strings.HasPrefix(m.Actor.ID, want)
}

// matchImage compares with an image event's id or name and with a container
// event's image, tags left out when the filter has none.
func matchImage(want string, m events.Message) bool {
	attr := "image"
	switch m.Type {
	case events.ImageEventType:
		attr = "name"
	case events.ContainerEventType:
	default:
		return false
	}
	for _, have := range []string{m.Actor.Attributes[attr], m.Actor.ID} {
		if have != "" && (want == have || want == withoutTag(have)) {
			return true
		}
	}
	return false
}

func withoutTag(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}
