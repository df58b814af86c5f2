package testkit

import (
	"net/http"
	"testing"
)

func TestARegistryWithTheTestImagesAnswersInsideTheNamespaceOnly(t *testing.T) {
	h := New(t)
	resp, err := h.HTTP().Get("http://" + h.Registry + "/v2/library/nginx/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("tags of library/nginx: %s", resp.Status)
	}
	if leaks := h.Leaks(); len(leaks) != 0 {
		t.Errorf("a fresh host shows leaks: %q", leaks)
	}
}
