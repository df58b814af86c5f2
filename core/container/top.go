package container

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/strakehq/strake/sdk/runtime"
)

// Top implements containers.Reader with the host's ps, of which the
// container's processes are picked: the container needs none.
func (m *Manager) Top(ctx context.Context, ref, psArgs string) (container.TopResponse, error) {
	var out container.TopResponse
	if psArgs == "" {
		psArgs = "-ef"
	}
	args := strings.Fields(psArgs)
	if err := checkPsArgs(args); err != nil {
		return out, err
	}
	u, err := m.find(ref)
	if err != nil {
		return out, err
	}
	r, err := m.allows(u, opTop)
	if err != nil {
		return out, err
	}
	rt, err := m.runtimeOf(r)
	if err != nil {
		return out, err
	}
	pids, err := rt.Processes(ctx, runtime.ContainerID(r.ID))
	if err != nil {
		return out, fmt.Errorf("container %s: top: %w", short(r.ID), err)
	}
	table, err := ps(ctx, args, pids)
	if err != nil {
		return out, err
	}
	out, err = parsePs(table, pids)
	if err == nil {
		m.publish(r, events.ActionTop)
	}
	return out, err
}

// checkPsArgs keeps the pid column recognizable: "-o pid=FOO" would rename it.
func checkPsArgs(args []string) error {
	for _, a := range args {
		if strings.Contains(a, "pid=") {
			return invalid("specifying \"%s\" is not allowed", a)
		}
	}
	return nil
}

// ps asks for the pids alone first; ps refuses that beside other selections
// such as -e, so then all processes are listed.
func ps(ctx context.Context, args []string, pids []int) (string, error) {
	list := make([]string, len(pids))
	for i, p := range pids {
		list[i] = strconv.Itoa(p)
	}
	b, err := exec.CommandContext(ctx, "ps", append(args, "-q"+strings.Join(list, ","))...).Output() //nolint:gosec // arguments of ps, no shell
	if err != nil {
		b, err = exec.CommandContext(ctx, "ps", args...).Output() //nolint:gosec // as above
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		line, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", invalid("ps: %s", line)
	}
	if err != nil {
		return "", fmt.Errorf("ps: %w", err)
	}
	return string(b), nil
}

func parsePs(table string, pids []int) (container.TopResponse, error) {
	lines := strings.Split(strings.TrimRight(table, "\n"), "\n")
	out := container.TopResponse{Titles: strings.Fields(lines[0]), Processes: [][]string{}}
	column := slices.Index(out.Titles, "PID")
	if column < 0 {
		return out, invalid("couldn't find PID field in ps output")
	}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) <= column {
			continue
		}
		if f[column] == "-" { // a thread of the process above it
			out.Processes = append(out.Processes, joinRest(f, len(out.Titles)))
			continue
		}
		pid, err := strconv.Atoi(f[column])
		if err != nil {
			return out, fmt.Errorf("ps: unexpected pid %q: %w", f[column], err)
		}
		if slices.Contains(pids, pid) {
			out.Processes = append(out.Processes, joinRest(f, len(out.Titles)))
		}
	}
	return out, nil
}

// joinRest puts the words of the last column, the command, together again.
func joinRest(f []string, columns int) []string {
	if len(f) <= columns {
		return f
	}
	return append(slices.Clone(f[:columns-1]), strings.Join(f[columns-1:], " "))
}
