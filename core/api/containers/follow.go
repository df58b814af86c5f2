package containers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"

	"github.com/strakehq/strake/core/api/httperr"
	"github.com/strakehq/strake/core/api/httpjson"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/stream"
	"github.com/strakehq/strake/core/api/version"
)

func (s *routes) stats(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	q := query.Of(r)
	once := !q.BoolOr("stream", true)
	oneShot := q.Bool("one-shot") && !version.From(ctx).Before(1, 41)
	readings, err := s.backend.Stats(ctx, vars["name"], once, oneShot)
	if err != nil {
		return err
	}
	if once {
		for reading, err := range readings {
			if err != nil {
				return err
			}
			return httpjson.Write(w, http.StatusOK, reading)
		}
		return fmt.Errorf("container %s: no reading of its counters: %w", vars["name"], errdefs.ErrUnavailable)
	}
	lines := stream.NewLines(w, r, types.MediaTypeJSON)
	defer lines.Close()
	for reading, err := range readings {
		if err != nil {
			s.log.Debug("stats ended", "container", vars["name"], "err", err)
			break
		}
		if lines.Send(reading) != nil {
			break // the client is gone
		}
	}
	return nil
}

func (s *routes) wait(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	v, condition := version.From(ctx), container.WaitConditionNotRunning
	if c := query.Of(r).Get("condition"); c != "" && !v.Before(1, 30) {
		condition = container.WaitCondition(c)
	}
	switch condition {
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("invalid condition: %q: must be not-running, next-exit or removed", condition))
	}
	answer, err := s.backend.Wait(ctx, vars["name"], condition)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if !v.Before(1, 30) {
		// The header tells the client that the wait is in place.
		w.WriteHeader(http.StatusOK)
		if err := http.NewResponseController(w).Flush(); err != nil {
			s.log.Debug("wait: client is gone", "container", vars["name"], "err", err)
		}
	}
	result, err := answer()
	if err != nil {
		result.Error = &container.WaitExitError{Message: httperr.Message(err)}
	}
	if err := json.NewEncoder(w).Encode(result); err != nil {
		s.log.Debug("wait: answer", "container", vars["name"], "err", err)
	}
	return nil
}
