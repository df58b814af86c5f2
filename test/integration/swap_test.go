package integration

import (
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

// One line of the config file replaces the storage driver by a third party's,
// which knows nothing of overlay and unpacks no layers itself.
func TestTheMainJobRunsOnAnotherStorageDriverByOneLineOfConfig(t *testing.T) {
	h := testkit.Start(t, testkit.WithConfig("[storage]\ndriver = \"copy\"\n"))
	h.MustStrake("run", "-d", "-p", "8080:80", "nginx")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	if info := h.MustStrake("info", "--format", "{{.Driver}}"); info != "copy" {
		t.Errorf("storage driver: %q, want copy", info)
	}
	if ls := h.MustStrake("driver", "ls"); !strings.Contains(ls, "copy") || strings.Contains(ls, "overlay") {
		t.Errorf("driver ls:\n%s", ls)
	}
}

func TestTheMainJobRunsOnCrunByOneLineOfConfig(t *testing.T) {
	h := testkit.Start(t, testkit.WithConfig("[runtime.options]\nbinary = \"crun\"\n"), testkit.WithCrun())
	h.MustStrake("run", "-d", "-p", "8080:80", "nginx")
	wantNginx(t, h, "http://127.0.0.1:8080/")
	if code := h.Strake("run", "--rm", "busybox", "sh", "-c", "exit 7").Code; code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}
