package jsonlog

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
)

func FuzzStringIsAsEncodingJSONWritesIt(f *testing.F) {
	for _, s := range []string{"", "plain text of some length\n", "\"\\<>&\b\f\r\t\x00\x1f\x7f", "ä€😀\u2028\u2029", "\xff\xfe\xc3", "12345678<2345678>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) { compare(t, s) })
}

func TestRandomStringsAreAsEncodingJSONWritesThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		s := make([]byte, r.IntN(40))
		for i := range s {
			s[i] = byte(r.IntN(256))
			if r.IntN(3) > 0 {
				s[i] = byte(' ' + r.IntN(96))
			}
		}
		compare(t, s)
	}
}

func compare(t *testing.T, s []byte) {
	t.Helper()
	want, err := json.Marshal(string(s))
	if err != nil {
		t.Fatal(err)
	}
	if got := appendString(nil, s); string(got) != string(want) {
		t.Fatalf("%q: got %s, want %s", s, got, want)
	}
}

func BenchmarkAppendString(b *testing.B) {
	line := []byte("2026-08-01T12:00:00Z INFO  request served path=/index.html status=200 bytes=5123 took=1.2ms agent=curl\n")
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		buf = appendString(buf[:0], line)
	}
}
