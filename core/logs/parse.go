package logs

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
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
//
// The entry's Line uses buf, which is returned, grown where it was too small.
func parse(raw, buf []byte) (e Entry, grown []byte, ok bool) {
	if e, ok := parsePlain(raw, buf[:0]); ok {
		return e, e.Line, true
	}
	var l line
	if json.Unmarshal(raw, &l) != nil || l.Stream == "" || l.Time.IsZero() {
		return Entry{}, buf, false
	}
	buf = append(buf[:0], l.Log...)
	return Entry{Stream: l.Stream, Time: l.Time, Line: buf, Attrs: l.Attrs}, buf, true
}

// parsePlain reads a line as shims and Docker write nearly all of them. It
// refuses every other, right or wrong, for encoding/json to judge, which is ten
// times as slow.
func parsePlain(raw, buf []byte) (e Entry, ok bool) {
	raw, ok = bytes.CutPrefix(raw, []byte(`{"log":"`))
	if !ok {
		return Entry{}, false
	}
	if e.Line, raw, ok = unquote(buf, raw); !ok {
		return Entry{}, false
	}
	switch stream, rest, _ := bytes.Cut(raw, []byte(`","time":"`)); string(stream) {
	case `,"stream":"stdout`:
		e.Stream, raw = "stdout", rest
	case `,"stream":"stderr`:
		e.Stream, raw = "stderr", rest
	default:
		return Entry{}, false
	}
	stamp, rest, found := bytes.Cut(raw, []byte(`"}`))
	if !found || len(bytes.TrimSpace(rest)) > 0 || e.Time.UnmarshalText(stamp) != nil || e.Time.IsZero() {
		return Entry{}, false
	}
	return e, true
}

// unquote appends a JSON string whose opening quote is read to dst, and returns
// what follows its closing one.
func unquote(dst, s []byte) (out, rest []byte, ok bool) {
	for {
		n := 0
		for n < len(s) && s[n] >= ' ' && s[n] < utf8.RuneSelf && s[n] != '"' && s[n] != '\\' {
			n++
		}
		dst = append(dst, s[:n]...)
		s = s[n:]
		if len(s) < 2 {
			return dst, nil, false
		}
		switch c := s[0]; {
		case c == '"':
			return dst, s[1:], true
		case c == '\\':
			plain := unescaped[s[1]]
			if plain == 0 {
				if plain, ok = ascii(s[1:]); !ok {
					return dst, nil, false
				}
				s = s[4:]
			}
			dst = append(dst, plain)
			s = s[2:]
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(s)
			if r == utf8.RuneError {
				return dst, nil, false
			}
			dst = append(dst, s[:size]...)
			s = s[size:]
		default: // a control character
			return dst, nil, false
		}
	}
}

// unescaped is what stands behind a backslash, by what it means.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// ascii reads u00XX of less than 0x80: encoders escape control characters so
// and, for HTML's sake, three others.
func ascii(s []byte) (c byte, ok bool) {
	if len(s) < 5 || s[0] != 'u' || s[1] != '0' || s[2] != '0' || s[3] < '0' || s[3] > '7' {
		return 0, false
	}
	low := s[4]
	switch {
	case low >= '0' && low <= '9':
		low -= '0'
	case low >= 'a' && low <= 'f':
		low -= 'a' - 10
	default:
		return 0, false
	}
	return (s[3]-'0')<<4 | low, true
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
