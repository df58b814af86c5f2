package logs

import (
	"encoding/json"
	"time"
)

// line is one line of a json-file log.
type line struct {
	Log    string            `json:"log"`
	Stream string            `json:"stream"`
	Time   time.Time         `json:"time"`
	Attrs  map[string]string `json:"attrs"`
}

// parse reads one line of the file. ok is false for what is no log line: a
// power cut or a full disk can tear one, and the lines after it are worth
// reading.
func parse(raw []byte) (e Entry, ok bool) {
	var l line
	if json.Unmarshal(raw, &l) != nil || l.Stream == "" || l.Time.IsZero() {
		return Entry{}, false
	}
	return Entry{Stream: l.Stream, Time: l.Time, Line: []byte(l.Log), Attrs: l.Attrs}, true
}

// wants says whether the options select an entry.
func (o Options) wants(e Entry) bool {
	if e.Stream == "stdout" && !o.Stdout || e.Stream == "stderr" && !o.Stderr {
		return false
	}
	return (o.Since.IsZero() || !e.Time.Before(o.Since)) && !o.past(e)
}

// past says that an entry lies behind Until; so do all that follow it.
func (o Options) past(e Entry) bool { return !o.Until.IsZero() && e.Time.After(o.Until) }
