package stream

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types"
)

// Lines writes a stream of JSON values, each sent at once.
type Lines struct {
	w    *Writer
	open string // before each value; RFC 7464 has one
}

// NewLines begins a response of JSON values in the form that the client's
// Accept header asks for by name, else as mediaType. Close it.
func NewLines(w http.ResponseWriter, r *http.Request, mediaType string) *Lines {
	l := &Lines{}
	for _, t := range []string{types.MediaTypeJSONLines, types.MediaTypeNDJSON, types.MediaTypeJSONSequence} {
		if strings.Contains(r.Header.Get("Accept"), t) {
			mediaType = t
			break
		}
	}
	if mediaType == types.MediaTypeJSONSequence {
		l.open = "\x1e"
	}
	w.Header().Set("Content-Type", mediaType)
	l.w = NewWriter(w)
	return l
}

// Send writes one value. An error means that the client is gone.
func (l *Lines) Send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := l.w.Write(append(append([]byte(l.open), line...), '\n')); err != nil {
		return err
	}
	return l.w.Flush()
}

// Close ends the stream.
func (l *Lines) Close() { l.w.Close() }
