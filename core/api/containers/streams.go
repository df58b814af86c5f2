package containers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	framing "github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/hijack"
	"github.com/strakehq/strake/core/api/httperr"
	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/stdcopy"
	"github.com/strakehq/strake/core/api/version"
)

func (s *routes) attach(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	attached, err := s.backend.Attach(ctx, vars["name"], AttachOptions{
		Stdin: q.Bool("stdin"), Stdout: q.Bool("stdout"), Stderr: q.Bool("stderr"),
		Logs: q.Bool("logs"), Stream: q.Bool("stream"), DetachKeys: q.Get("detachKeys"),
	})
	if err != nil {
		return err
	}
	client, err := hijack.Upgrade(ctx, w, r, attached.TTY)
	if err != nil {
		s.log.Debug("attach ended", "container", vars["name"], "err", err)
		return closeStream(attached.Conn)
	}
	s.join("attach", vars["name"], client, &attached)
	return nil
}

// join serves the streams until they end. The response has begun: what goes
// wrong now can only be logged.
func (s *routes) join(op, id string, client *hijack.Conn, a *Attached) {
	if err := hijack.Join(client, a.Conn, a.DetachKeys); err != nil {
		s.log.Debug("stream broke off", "op", op, "container", id, "err", err)
	}
}

func closeStream(c Stream) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("close streams: %w", err)
	}
	return nil
}

func (s *routes) resize(ctx context.Context, _ http.ResponseWriter, r *http.Request, vars map[string]string) error {
	height, width, err := dimensions(r)
	if err != nil {
		return err
	}
	return s.backend.Resize(ctx, vars["name"], height, width)
}

func dimensions(r *http.Request) (height, width uint16, err error) {
	q := query.Of(r)
	if height, err = q.Cells("h"); err != nil {
		return 0, 0, err
	}
	width, err = q.Cells("w")
	return height, width, err
}

func (s *routes) execCreate(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	var req container.ExecCreateRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	if len(req.Cmd) == 0 {
		return errdefs.ErrInvalidArgument.WithMessage("No exec command specified")
	}
	if version.From(ctx).Before(1, 42) {
		req.ConsoleSize = nil
	}
	id, err := s.backend.ExecCreate(ctx, vars["name"], req)
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusCreated, container.ExecCreateResponse{ID: id})
}

func (s *routes) execStart(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	var req container.ExecStartRequest
	if err := httpjson.Read(w, r, &req); err != nil {
		return err
	}
	if version.From(ctx).Before(1, 42) || !req.Tty {
		req.ConsoleSize = nil
	}
	if req.Detach {
		if _, err := s.backend.ExecStart(ctx, vars["id"], req); err != nil {
			return err
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	// Clients take any other answer than an upgrade for a broken server, and
	// read why an exec could not start from its output. So only an exec that
	// does not exist is told by status.
	exec, err := s.backend.ExecInspect(ctx, vars["id"])
	if err != nil {
		return err
	}
	tty := exec.ProcessConfig != nil && exec.ProcessConfig.Tty
	client, err := hijack.Upgrade(ctx, w, r, tty)
	if err != nil {
		s.log.Debug("exec not started", "exec", vars["id"], "err", err)
		return nil
	}
	attached, err := s.backend.ExecStart(ctx, vars["id"], req)
	if err != nil {
		s.refuse(client, tty, err)
		return nil
	}
	s.join("exec", exec.ContainerID, client, attached)
	return nil
}

// refuse says on an upgraded connection why there is no process.
func (s *routes) refuse(client *hijack.Conn, tty bool, err error) {
	text := fmt.Appendf(nil, "%s\r\n", httperr.Message(err))
	if !tty {
		text = append(stdcopy.AppendHeader(nil, framing.Stdout, len(text)), text...)
	}
	_, writeErr := client.Write(text)
	if closeErr := client.Finish(); writeErr != nil || closeErr != nil {
		s.log.Debug("exec not started, client gone", "err", err)
	}
}

func (s *routes) execResize(ctx context.Context, _ http.ResponseWriter, r *http.Request, vars map[string]string) error {
	height, width, err := dimensions(r)
	if err != nil {
		return err
	}
	return s.backend.ExecResize(ctx, vars["id"], height, width)
}

func (s *routes) execInspect(ctx context.Context, w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
	answer, err := s.backend.ExecInspect(ctx, vars["id"])
	if err != nil {
		return err
	}
	return httpjson.Write(w, http.StatusOK, answer)
}
