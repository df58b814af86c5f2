package system

import (
	"context"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/registry"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/router"
	"github.com/strakehq/strake/core/api/stream"
	"github.com/strakehq/strake/core/api/version"
)

type routes struct {
	backend Backend
	events  Events
}

// Routes returns the routes of the daemon itself.
func Routes(b Backend, e Events) []router.Route {
	s := &routes{b, e}
	return []router.Route{
		router.Get("/_ping", s.ping),
		router.Head("/_ping", s.ping),
		router.Get("/version", s.version),
		router.Get("/info", s.info),
		router.Post("/auth", s.auth),
		router.Get("/events", s.stream),
		router.Get("/system/df", s.diskUsage),
	}
}

func (s *routes) ping(_ context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	// 1 keeps the client from starting BuildKit, which would fail with
	// less clear words than our own.
	h.Set("Builder-Version", "1")
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		return nil
	}
	_, err := w.Write([]byte("OK"))
	return err
}

func (s *routes) version(ctx context.Context, w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	answer, err := s.backend.Version(ctx)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

func (s *routes) info(ctx context.Context, w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	answer, err := s.backend.Info(ctx)
	if err != nil {
		return err
	}
	v := version.From(ctx)
	if v.Before(1, 46) {
		answer.Containerd = nil
	}
	if v.Before(1, 49) {
		answer.FirewallBackend = nil
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

func (s *routes) auth(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	var a registry.AuthConfig
	if err := httpjson.Read(w, r, &a); err != nil {
		return err
	}
	answer, err := s.backend.Auth(ctx, a)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, answer)
}

// eventFilters are the filters of events.
func eventFilters() []string {
	return []string{
		"config", "container", "daemon", "event", "image", "label", "network",
		"node", "plugin", "scope", "secret", "service", "type", "volume",
	}
}

func (s *routes) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	q := query.Of(r)
	since, err := q.Time("since")
	if err != nil {
		return err
	}
	until, err := q.Time("until")
	if err != nil {
		return err
	}
	if !until.IsZero() && until.Before(since) {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("`since` time (%s) cannot be after `until` time (%s)", q.Get("since"), q.Get("until")))
	}
	f, err := q.Filters(eventFilters()...)
	if err != nil {
		return err
	}
	sequence, err := s.events.Subscribe(ctx, since, until, f)
	if err != nil {
		return err
	}
	v, mediaType := version.From(ctx), types.MediaTypeJSONLines
	if v.Before(1, 52) {
		mediaType = types.MediaTypeJSON
	}
	lines := stream.NewLines(w, r, mediaType)
	defer lines.Close()
	for m, err := range sequence {
		if err != nil {
			break // ctx has ended, or the daemon ends
		}
		if lines.Send(eventFor(v, m)) != nil {
			break // the client is gone
		}
	}
	return nil
}

// legacyEvent has the fields that clients before API 1.52 panic without.
type legacyEvent struct {
	events.Message
	Status events.Action `json:"status,omitempty"`
	ID     string        `json:"id,omitempty"`
	From   string        `json:"from,omitempty"`
}

func eventFor(v version.Version, m events.Message) any {
	if !v.Before(1, 52) || m.Type != events.ContainerEventType && m.Type != events.ImageEventType {
		return m
	}
	old := legacyEvent{Message: m, Status: m.Action, ID: m.Actor.ID}
	if m.Type == events.ContainerEventType {
		old.From = m.Actor.Attributes["image"]
	}
	return old
}
