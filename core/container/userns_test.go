package container_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
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

// A remapped root of former times passes through no container's directories.
func TestDirectoriesAreTakenBackFromTheRemappedRoot(t *testing.T) {
	const group = 100000
	w := newWorld(t)
	id := w.create(t, "", func(*apicontainer.CreateRequest) {})
	w.shut(t)
	containers := filepath.Join(w.dir, "containers")
	dirs := []string{containers, filepath.Join(containers, id), filepath.Join(containers, id, "rootfs")}
	for _, dir := range dirs {
		if err := os.Chown(dir, 0, group); err != nil {
			t.Fatal(err)
		}
	}
	w.boot(t)
	w.start(t, id)
	for _, dir := range dirs {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil || st.Gid != 0 || st.Mode&0o007 != 0 {
			t.Errorf("%s: group %d, mode %o, %v", dir, st.Gid, st.Mode&0o777, err)
		}
	}
}
