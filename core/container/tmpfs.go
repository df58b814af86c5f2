package container

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
)

// tmpfsOptions writes the options of a tmpfs in fstab notation.
func tmpfsOptions(o *mount.TmpfsOptions) (opts []string, err error) {
	if o == nil {
		return nil, nil
	}
	if o.Mode != 0 {
		opts = append(opts, fmt.Sprintf("mode=%o", o.Mode))
	}
	if o.SizeBytes < 0 {
		return nil, refuse(errdefs.ErrInvalidArgument, "invalid tmpfs size: %d", o.SizeBytes)
	}
	if o.SizeBytes > 0 {
		opts = append(opts, fmt.Sprintf("size=%d", o.SizeBytes))
	}
	for _, kv := range o.Options {
		if len(kv) < 1 || len(kv) > 2 {
			return nil, refuse(errdefs.ErrInvalidArgument, "invalid tmpfs option: %q", kv)
		}
		opts = append(opts, strings.Join(kv, "="))
	}
	return opts, nil
}
