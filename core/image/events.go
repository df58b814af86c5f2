package image

import (
	"encoding/json"
	"maps"

	"github.com/moby/moby/api/types/events"
)

// publish tells of an image with Docker's attributes: its labels and name.
// What goes to or comes from a registry has the reference for its id, the rest
// the image's.
func (s *Service) publish(a events.Action, id, name string, r record) {
	if s.c.Events == nil {
		return
	}
	attrs := map[string]string{}
	maps.Copy(attrs, r.Labels)
	attrs["name"] = name
	s.c.Events.Publish(events.ImageEventType, a, id, attrs)
}

// labels are those of the configuration.
func (c config) labels() map[string]string {
	var l struct{ Labels map[string]string }
	if len(c.Config) == 0 || json.Unmarshal(c.Config, &l) != nil {
		return nil
	}
	return l.Labels
}
