// Package progress shows the progress messages of pulls, pushes and loads: as
// bars that redraw in place on a terminal, as plain lines elsewhere.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/strakehq/strake/cmd/strake/terminal"
)

// Show prints messages until they end. An error among them is returned.
func Show(out io.Writer, messages iter.Seq2[jsonstream.Message, error]) error {
	var d display = lines{out}
	if terminal.IsTerminal(out) {
		d = newBars(out)
	}
	for m, err := range messages {
		if err == nil && m.Error != nil {
			err = errors.New(m.Error.Message)
		}
		if err == nil {
			err = d.message(m)
		}
		if err != nil {
			return errors.Join(err, d.close(false))
		}
	}
	return d.close(true)
}

// display is a way of showing messages. After close the output is at the start
// of a line.
type display interface {
	message(m jsonstream.Message) error
	close(done bool) error
}

// lines shows every change of status as a line and leaves out the byte counts,
// of which a log would get hundreds.
type lines struct{ out io.Writer }

func (l lines) message(m jsonstream.Message) error {
	if m.Progress != nil && (m.Progress.Current > 0 || m.Progress.Total > 0) {
		return nil
	}
	_, err := io.WriteString(l.out, text(m))
	return err
}

func (lines) close(bool) error { return nil }

func text(m jsonstream.Message) string {
	switch {
	case m.Stream != "":
		return m.Stream
	case m.Status == "":
		return ""
	case m.ID != "":
		return fmt.Sprintf("%s: %s\n", m.ID, m.Status)
	}
	return m.Status + "\n"
}

// Decode reads a stream of JSON messages.
func Decode(r io.Reader) iter.Seq2[jsonstream.Message, error] {
	return func(yield func(jsonstream.Message, error) bool) {
		d := json.NewDecoder(r)
		for {
			var m jsonstream.Message
			err := d.Decode(&m)
			if errors.Is(err, io.EOF) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}
