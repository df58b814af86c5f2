package api

import "testing"

// What Strake does not do has no code that could be open to a fault in it:
// files in and out of containers, exports, checkpoints, builds, swarms with their
// encrypted networks, plugins with privileges, Podman's own routes.
func TestWhatIsAbsentIsRefused(t *testing.T) {
	d := newDaemon(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/containers/web/archive?path=/etc", 501},
		{"PUT", "/containers/web/archive?path=/etc", 501},
		{"HEAD", "/containers/web/archive?path=/etc", 501},
		{"GET", "/containers/web/export", 501},
		{"GET", "/containers/web/checkpoints", 501},
		{"POST", "/containers/web/checkpoints", 501},
		{"POST", "/build", 501},
		{"POST", "/session", 501},
		{"POST", "/swarm/init", 501},
		{"POST", "/swarm/join", 501},
		{"POST", "/services/create", 503},
		{"POST", "/plugins/pull?remote=a/b", 501},
		{"POST", "/plugins/a/b/enable", 404},
		{"GET", "/plugins/privileges?remote=a/b", 501},
		{"POST", "/libpod/play/kube", 404},
		{"GET", "/libpod/volumes/v/export", 404},
		{"POST", "/libpod/containers/web/checkpoint", 404},
	} {
		if resp, body := d.do(c.method, c.path, "{}"); resp.StatusCode != c.status {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, resp.StatusCode, body, c.status)
		}
	}
}
