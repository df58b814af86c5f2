package spec

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ResolveUser turns user[:group], by names or numbers, into ids. passwd and
// group are the contents of the image's files; nil when it has none. Root's
// and everybody's supplementary groups are looked up too. Unknown names are
// ErrInvalidArgument.
func ResolveUser(name string, groupAdd []string, passwd, group []byte) (specs.User, error) {
	u, err := user.GetExecUser(name, nil, reader(passwd), reader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("user %q: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	out := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid), AdditionalGids: []uint32{uint32(u.Gid)}} //nolint:gosec // 0 to MaxInt32 by contract
	more, err := user.GetAdditionalGroups(groupAdd, reader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("additional groups: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	for _, g := range append(u.Sgids, more...) {
		out.AdditionalGids = append(out.AdditionalGids, uint32(g)) //nolint:gosec // 0 to MaxInt32 by contract
	}
	return out, nil
}

// NumericUser says that ResolveUser needs no files: the group is given and
// both are numbers.
func NumericUser(name string, groupAdd []string) bool {
	u, g, ok := strings.Cut(name, ":")
	if !ok {
		return false
	}
	for _, n := range append([]string{u, g}, groupAdd...) {
		if _, err := strconv.ParseUint(n, 10, 31); err != nil {
			return false
		}
	}
	return true
}

// reader avoids a typed nil, which the parser would read from.
func reader(b []byte) io.Reader {
	if b == nil {
		return nil
	}
	return bytes.NewReader(b)
}
