// Package progress shows the progress messages of pulls, pushes and loads: as
// lines that redraw in place on a terminal, as plain lines elsewhere.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/moby/moby/api/types/jsonstream"
)

// Show prints messages until they end. An error among them is returned.
func Show(out io.Writer, messages iter.Seq2[jsonstream.Message, error]) error {
	for m, err := range messages {
		if err != nil {
			return err
		}
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if m.Progress != nil && (m.Progress.Current > 0 || m.Progress.Total > 0) {
			continue // only a terminal can show it
		}
		text := m.Stream
		if text == "" {
			text = m.Status + "\n"
			if m.ID != "" {
				text = m.ID + ": " + text
			}
		}
		if _, err := fmt.Fprint(out, text); err != nil {
			return err
		}
	}
	return nil
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
