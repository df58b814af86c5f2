// Package absent answers for the parts of the Docker Engine API that Strake
// does not have: as an engine outside a swarm does where that is an answer,
// else with words that say so and what to do instead.
package absent

import (
	"context"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"

	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/router"
)

// Routes returns the routes.
func Routes() []router.Route {
	var all []router.Route
	for _, p := range swarmPaths() {
		all = append(all, route(p, errdefs.ErrUnavailable.WithMessage(noSwarm)))
	}
	for p, why := range missing() {
		all = append(all, route(p, errdefs.ErrNotImplemented.WithMessage(why)))
	}
	return append(
		all,
		router.Get("/plugins", none),
		router.Get("/plugins/{name...}/json", noPlugin),
		router.Delete("/plugins/{name...}", noPlugin),
		router.Post("/plugins/{name...}/enable", noPlugin),
		router.Post("/plugins/{name...}/disable", noPlugin),
		router.Post("/plugins/{name...}/set", noPlugin),
	)
}

// endpoint is a method and a path.
type endpoint struct{ method, path string }

func route(e endpoint, err error) router.Route {
	return router.Route{Method: e.method, Path: e.path, Handler: func(context.Context, http.ResponseWriter, *http.Request, map[string]string) error {
		return err
	}}
}

// noSwarm is what Docker says; clients show it.
const noSwarm = `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`

func swarmPaths() []endpoint {
	all := []endpoint{
		{http.MethodGet, "/swarm"},
		{http.MethodGet, "/swarm/unlockkey"},
		{http.MethodPost, "/swarm/leave"},
		{http.MethodPost, "/swarm/update"},
		{http.MethodPost, "/swarm/unlock"},
		{http.MethodGet, "/services/{id}/logs"},
		{http.MethodGet, "/tasks"},
		{http.MethodGet, "/tasks/{id}"},
		{http.MethodGet, "/tasks/{id}/logs"},
		{http.MethodGet, "/nodes"},
		{http.MethodGet, "/nodes/{id}"},
		{http.MethodPost, "/nodes/{id}/update"},
		{http.MethodDelete, "/nodes/{id}"},
	}
	for _, noun := range []string{"services", "secrets", "configs"} {
		all = append(
			all,
			endpoint{http.MethodGet, "/" + noun},
			endpoint{http.MethodPost, "/" + noun + "/create"},
			endpoint{http.MethodGet, "/" + noun + "/{id}"},
			endpoint{http.MethodPost, "/" + noun + "/{id}/update"},
			endpoint{http.MethodDelete, "/" + noun + "/{id}"},
		)
	}
	return all
}

func missing() map[endpoint]string {
	const (
		swarm   = "swarm: Strake does not grow a cluster of its own: run it under Nomad or Kubernetes"
		build   = "build: Strake does not build images: build elsewhere (docker buildx with a container driver, buildah, kaniko) and push or load the image"
		files   = "copy: Strake does not copy files into or out of containers yet: use exec with tar, or a bind mount"
		plugins = "plugin: Strake does not run Docker's plugins: its own drivers are named in its config file"
	)
	return map[endpoint]string{
		{http.MethodPost, "/swarm/init"}: swarm,
		{http.MethodPost, "/swarm/join"}: swarm,

		{http.MethodPost, "/build"}:        build,
		{http.MethodPost, "/build/prune"}:  build,
		{http.MethodPost, "/build/cancel"}: build,
		{http.MethodPost, "/session"}:      build,
		{http.MethodPost, "/grpc"}:         build,

		{http.MethodHead, "/containers/{name...}/archive"}:  files,
		{http.MethodGet, "/containers/{name...}/archive"}:   files,
		{http.MethodPut, "/containers/{name...}/archive"}:   files,
		{http.MethodGet, "/containers/{name...}/export"}:    "export: Strake does not export a container's file system yet: use exec with tar",
		{http.MethodGet, "/containers/{name...}/changes"}:   "diff: Strake does not list a container's changes yet",
		{http.MethodPost, "/commit"}:                        "commit: Strake does not make images of containers yet: build the image from a Dockerfile",
		{http.MethodGet, "/containers/{name...}/attach/ws"}: "attach: Strake does not attach over WebSocket: use the attach endpoint with an upgrade to tcp",

		{http.MethodGet, "/containers/{name...}/checkpoints"}:         "checkpoint: Strake does not checkpoint containers",
		{http.MethodPost, "/containers/{name...}/checkpoints"}:        "checkpoint: Strake does not checkpoint containers",
		{http.MethodDelete, "/containers/{name...}/checkpoints/{id}"}: "checkpoint: Strake does not checkpoint containers",

		{http.MethodGet, "/images/search"}:                 "search: Strake does not search registries: look on the registry's web site",
		{http.MethodGet, "/images/{name...}/attestations"}: "attestations: Strake does not read image attestations",
		{http.MethodGet, "/distribution/{name...}/json"}:   "distribution: Strake does not look into registries for clients: pull the image and inspect it",

		{http.MethodGet, "/plugins/privileges"}:         plugins,
		{http.MethodPost, "/plugins/pull"}:              plugins,
		{http.MethodPost, "/plugins/create"}:            plugins,
		{http.MethodPost, "/plugins/{name...}/push"}:    plugins,
		{http.MethodPost, "/plugins/{name...}/upgrade"}: plugins,
	}
}

func none(_ context.Context, w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	return httpjson.Write(w, http.StatusOK, []struct{}{})
}

func noPlugin(_ context.Context, _ http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("plugin %q not found", vars["name"]))
}
