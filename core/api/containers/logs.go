package containers

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	framing "github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"

	"github.com/strakehq/strake/core/api/httperr"
	"github.com/strakehq/strake/core/api/query"
	"github.com/strakehq/strake/core/api/stdcopy"
	"github.com/strakehq/strake/core/api/stream"
	"github.com/strakehq/strake/core/api/version"
	"github.com/strakehq/strake/core/logs"
)

// timeLayout is RFC 3339 in UTC with all nine decimals, so that lines align.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

func (s *routes) logs(ctx context.Context, w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	o, err := logOptions(query.Of(r))
	if err != nil {
		return err
	}
	l, err := s.backend.Logs(ctx, vars["name"], o)
	if err != nil {
		return err
	}
	contentType := types.MediaTypeRawStream
	if !l.TTY && !version.From(ctx).Before(1, 42) {
		contentType = types.MediaTypeMultiplexedStream
	}
	w.Header().Set("Content-Type", contentType)
	out := stream.NewWriter(w)
	defer out.Close()
	if err := copyLogs(out, l, o); err != nil {
		s.log.Debug("logs ended", "container", vars["name"], "err", err)
	}
	return nil
}

func logOptions(q query.Values) (o logs.Options, err error) {
	o = logs.Options{
		Stdout: q.Bool("stdout"), Stderr: q.Bool("stderr"), Tail: -1,
		Follow: q.Bool("follow"), Timestamps: q.Bool("timestamps"), Details: q.Bool("details"),
	}
	if !o.Stdout && !o.Stderr {
		return o, errdefs.ErrInvalidArgument.WithMessage("must specify at least one of 'stdout' or 'stderr'")
	}
	if o.Since, err = q.Time("since"); err != nil {
		return o, err
	}
	if o.Until, err = q.Time("until"); err != nil {
		return o, err
	}
	// Whatever is no number means all, as with Docker.
	if n, err := strconv.Atoi(q.Get("tail")); err == nil && n >= 0 {
		o.Tail = n
	}
	return o, nil
}

// copyLogs renders entries until they end or the client is gone.
func copyLogs(out io.Writer, l LogStream, o logs.Options) error {
	var text, line []byte
	for e, err := range l.Entries {
		if err != nil {
			text := fmt.Sprintf("Error grabbing logs: %s\n", httperr.Message(err))
			_, writeErr := out.Write(frame(nil, framing.Systemerr, []byte(text), l.TTY))
			return fmt.Errorf("%w (client told: %t)", err, writeErr == nil)
		}
		if e.Stream == "stdout" && !o.Stdout || e.Stream == "stderr" && !o.Stderr {
			continue
		}
		stream := framing.Stdout
		if e.Stream == "stderr" {
			stream = framing.Stderr
		}
		text = render(text[:0], e, o)
		line = frame(line[:0], stream, text, l.TTY)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// frame appends text, with a header before it unless a terminal wrote it.
func frame(b []byte, stream framing.StdType, text []byte, tty bool) []byte {
	if !tty {
		b = stdcopy.AppendHeader(b, stream, len(text))
	}
	return append(b, text...)
}

// render appends an entry as the options want it shown.
func render(b []byte, e logs.Entry, o logs.Options) []byte {
	if o.Timestamps {
		b = append(e.Time.UTC().AppendFormat(b, timeLayout), ' ')
	}
	if o.Details {
		for i, k := range slices.Sorted(maps.Keys(e.Attrs)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, url.QueryEscape(k)+"="+url.QueryEscape(e.Attrs[k])...)
		}
		b = append(b, ' ')
	}
	return append(b, e.Line...)
}
