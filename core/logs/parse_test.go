package logs

import (
	"encoding/json"
	"strings"
	"testing"
)

// both reads a line in both ways; plain says whether the fast one took it.
func both(t *testing.T, raw string) (plain bool) {
	t.Helper()
	fast, plain := parsePlain([]byte(raw), nil)
	if !plain {
		return false
	}
	var l line
	if err := json.Unmarshal([]byte(raw), &l); err != nil {
		t.Fatalf("%q was read, but is no JSON: %v", raw, err)
	}
	if string(fast.Line) != l.Log || fast.Stream != l.Stream || !fast.Time.Equal(l.Time) || len(l.Attrs) > 0 {
		t.Fatalf("%q was read as %+v (%q), encoding/json: %+v", raw, fast, fast.Line, l)
	}
	return true
}

func TestPlainLinesAreReadAsJSONReadsThem(t *testing.T) {
	const end = `,"stream":"stdout","time":"2030-01-02T03:04:05.123456789Z"}`
	for raw, plain := range map[string]bool{
		`{"log":""` + end:                true,
		`{"log":"a line\n"` + end + "\n": true,
		`{"log":"\"q\" \\ \/ \b\f\n\r\t \u003c\u0000\u001b[0m é 世\n"` + end: true,
		strings.Replace(`{"log":"x"`+end, "stdout", "stderr", 1):            true,
		`{"log":"\u00e9"` + end:       false,
		`{"log":"\ud83d\ude00"` + end: false,
		`{"log":"\u0"` + end:          false,
		`{"log":"\`:                   false,
		"{\"log\":\"a\tb\"" + end:     false,
		"{\"log\":\"\xff\"" + end:     false,
		`{"log":"x"` + end + `}`:      false,
		`{"log":"x","stream":"","time":"2030-01-02T03:04:05Z"}`:                         false,
		`{"log":"x","stream":"stdout","time":"0001-01-01T00:00:00Z"}`:                   false,
		`{"log":"x","stream":"stdout","time":"2030-01-02 03:04:05Z"}`:                   false,
		`{"log":"x","stream":"stdout","attrs":{"a":"b"},"time":"2030-01-02T03:04:05Z"}`: false,
		`{"log":"x","stream":"stdout","time":"2030-01-02T03:04:05Z","log":"y"}`:         false,
	} {
		if both(t, raw) != plain {
			t.Errorf("%q: read at once %t, want %t", raw, !plain, plain)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"log":"a \"line\" \u003c\n","stream":"stdout","time":"2030-01-02T03:04:05.123456789Z"}`)
	f.Add(`{"log":"\u00e9\ud83d\ude00","stream":"stderr","time":"2030-01-02T03:04:05+01:00"}`)
	f.Add(`{"log":"x","stream":"stdout","attrs":{"a":"b"},"time":"2030-01-02T03:04:05Z"}`)
	f.Fuzz(func(t *testing.T, raw string) { both(t, raw) })
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(`{"log":"` + strings.Repeat("the quick brown fox ", 5) + `\n","stream":"stdout","time":"2030-01-02T03:04:05.123456789Z"}` + "\n")
	var buf []byte
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		var ok bool
		if _, buf, ok = parse(raw, buf); !ok {
			b.Fatal("not read")
		}
	}
}
