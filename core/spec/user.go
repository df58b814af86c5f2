package spec

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ResolveUser turns user[:group], by names or numbers, into ids. passwd and
// group are the contents of the image's files; nil when it has none. Root's
// and everybody's supplementary groups are looked up too. Unknown names, and
// numbers that are no ids, are ErrInvalidArgument.
func ResolveUser(name string, groupAdd []string, passwd, group []byte) (specs.User, error) {
	passwd, group = sound(passwd, 2, 3), sound(group, 2)
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
		if !isID(n) {
			return false
		}
	}
	return true
}

// sound leaves out the lines of an accounts file of which a field that has to be
// an id is none, as the C library does: the parser would read it as 0, which is
// root, or as a number that no id can be.
func sound(file []byte, ids ...int) []byte {
	if file == nil {
		return nil
	}
	out := make([]byte, 0, len(file))
	for line := range bytes.Lines(file) {
		fields := bytes.Split(bytes.TrimSpace(line), []byte(":"))
		if !slices.ContainsFunc(ids, func(i int) bool { return i >= len(fields) || !isID(string(fields[i])) }) {
			out = append(out, line...)
		}
	}
	return out
}

func isID(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// reader avoids a typed nil, which the parser would read from.
func reader(b []byte) io.Reader {
	if b == nil {
		return nil
	}
	return bytes.NewReader(b)
}
