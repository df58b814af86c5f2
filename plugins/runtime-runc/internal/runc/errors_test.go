package runc

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestRuntimesWordsHaveAClass(t *testing.T) {
	for text, want := range map[string]error{
		`runc create failed: unable to start container process: exec: "foo": executable file not found in $PATH`:    errdefs.ErrNotFound,
		`runc create failed: unable to start container process: exec: "/foo": stat /foo: no such file or directory`: errdefs.ErrNotFound,
		`runc create failed: unable to start container process: exec: "/etc": permission denied`:                    errdefs.ErrPermissionDenied,
		`exec failed: unable to start container process: exec: "/etc": is a directory`:                              errdefs.ErrPermissionDenied,
		"executable file `foo` not found in $PATH: No such file or directory":                                       errdefs.ErrNotFound,
		"executable file `/foo` not found: No such file or directory":                                               errdefs.ErrNotFound,
		"open executable: Permission denied":                                                                        errdefs.ErrPermissionDenied,
		"open executable: Operation not permitted":                                                                  errdefs.ErrPermissionDenied,
		"error mounting \"/a\" to rootfs: no such file or directory":                                                nil,
		"something else": nil,
	} {
		err := classifyRuntime(errors.New(text), func() string { return "foo" })
		for _, class := range []error{errdefs.ErrNotFound, errdefs.ErrPermissionDenied} {
			if errors.Is(err, class) != (want != nil && errors.Is(want, class)) {
				t.Errorf("%s: class %v", text, err)
			}
		}
		if want != nil && !strings.Contains(err.Error(), "exec: ") {
			t.Errorf("%s: not in Docker's form: %v", text, err)
		}
	}
}
