package containers

import (
	"github.com/hashicorp/go-hclog"

	"github.com/strakehq/strake/core/api/router"
	"github.com/strakehq/strake/core/api/share"
)

type routes struct {
	backend Backend
	log     hclog.Logger
	lists   share.Group
}

// Routes returns the routes of containers and execs. Errors that come too late
// for a response go to log.
func Routes(b Backend, log hclog.Logger) []router.Route {
	s := &routes{backend: b, log: log}
	return []router.Route{
		router.Get("/containers/json", s.list),
		router.Post("/containers/create", s.create),
		router.Post("/containers/prune", s.prune),
		router.Get("/containers/{name...}/json", s.inspect),
		router.Get("/containers/{name...}/top", s.top),
		router.Get("/containers/{name...}/logs", s.logs),
		router.Get("/containers/{name...}/stats", s.stats),
		router.Post("/containers/{name...}/start", s.start),
		router.Post("/containers/{name...}/stop", s.stop),
		router.Post("/containers/{name...}/restart", s.restart),
		router.Post("/containers/{name...}/kill", s.kill),
		router.Post("/containers/{name...}/pause", s.pause),
		router.Post("/containers/{name...}/unpause", s.unpause),
		router.Post("/containers/{name...}/wait", s.wait),
		router.Post("/containers/{name...}/rename", s.rename),
		router.Post("/containers/{name...}/update", s.update),
		router.Post("/containers/{name...}/resize", s.resize),
		router.Post("/containers/{name...}/attach", s.attach),
		router.Delete("/containers/{name...}", s.remove),

		router.Post("/containers/{name...}/exec", s.execCreate),
		router.Post("/exec/{id}/start", s.execStart),
		router.Post("/exec/{id}/resize", s.execResize),
		router.Get("/exec/{id}/json", s.execInspect),
	}
}
