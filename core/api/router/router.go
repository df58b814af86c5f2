// Package router holds the routes of the Docker Engine API: what a noun package
// hands to the server, and how a request finds its route.
package router

import (
	"context"
	"net/http"
)

// Handler serves one request. ctx is the request's context, vars are the
// wildcards of the route's path. An error returned becomes the response (see
// package httperr), so a handler that has begun to write must not return one.
type Handler func(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error

// Route is one method and path, without the version prefix. A path segment
// "{id}" matches one segment, "{name...}" any number of them, in any position,
// once per path; neither matches nothing.
type Route struct {
	Method, Path string
	Handler      Handler
}

// Get makes a route for GET.
func Get(path string, h Handler) Route { return Route{http.MethodGet, path, h} }

// Head makes a route for HEAD.
func Head(path string, h Handler) Route { return Route{http.MethodHead, path, h} }

// Post makes a route for POST.
func Post(path string, h Handler) Route { return Route{http.MethodPost, path, h} }

// Put makes a route for PUT.
func Put(path string, h Handler) Route { return Route{http.MethodPut, path, h} }

// Delete makes a route for DELETE.
func Delete(path string, h Handler) Route { return Route{http.MethodDelete, path, h} }
