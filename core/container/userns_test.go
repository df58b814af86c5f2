package container_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/sys/user"
)

// A driver that does not say that it can is not given a user namespace, which it
// might ignore.
func TestUserNamespacesNeedADriverThatCan(t *testing.T) {
	w := newWorld(t)
	w.shut(t)
	ids := []user.IDMap{{ParentID: 100000, Count: 65536}}
	w.ids = &user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
	w.boot(t)
	id := w.create(t, "", func(*apicontainer.CreateRequest) {})
	err := w.Start(t.Context(), id)
	if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "the runtime driver fake cannot run containers in user namespaces") {
		t.Errorf("%v", err)
	}
	w.start(t, w.create(t, "", func(r *apicontainer.CreateRequest) { r.HostConfig.UsernsMode = "host" }))
}
