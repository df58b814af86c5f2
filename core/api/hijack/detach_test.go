package hijack

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestDetacher(t *testing.T) {
	for name, c := range map[string]struct {
		keys, in, want string
		detached       bool
	}{
		"nothing typed":             {"\x10\x11", "", "", false},
		"other input":               {"\x10\x11", "ls\n", "ls\n", false},
		"the keys":                  {"\x10\x11", "ls\x10\x11rest", "ls", true},
		"one key":                   {"\x04", "ab\x04", "ab", true},
		"a beginning, then other":   {"\x10\x11", "\x10a", "\x10a", false},
		"a beginning at the end":    {"\x10\x11", "a\x10", "a\x10", false},
		"a beginning twice":         {"\x10\x11", "\x10\x10\x11", "\x10", true},
		"overlapping beginnings":    {"aab", "aaab", "a", true},
		"longer overlapping":        {"abac", "ababac", "ab", true},
		"overlapping, then nothing": {"abac", "ababab", "ababab", false},
	} {
		t.Run(name, func(t *testing.T) {
			for form, in := range map[string]io.Reader{
				"at once":     bytes.NewBufferString(c.in),
				"byte a time": iotest.OneByteReader(bytes.NewBufferString(c.in)),
				"with EOF":    iotest.DataErrReader(bytes.NewBufferString(c.in)),
			} {
				got, err := io.ReadAll(newDetacher(in, []byte(c.keys)))
				if string(got) != c.want || errors.Is(err, errDetached) != c.detached || !c.detached && err != nil {
					t.Errorf("%s: got %q, %v, want %q, detached %t", form, got, err, c.want, c.detached)
				}
			}
		})
	}
}

// FuzzDetacher compares with a search of the whole input.
func FuzzDetacher(f *testing.F) {
	f.Add([]byte("aab"), []byte("xaaab"), uint8(1))
	f.Fuzz(func(t *testing.T, keys, in []byte, chunk uint8) {
		if len(keys) == 0 {
			return
		}
		want, _, detached := bytes.Cut(in, keys)
		var got []byte
		d := newDetacher(bytes.NewReader(in), keys)
		buf, err := make([]byte, int(chunk)+1), error(nil)
		for err == nil {
			var n int
			n, err = d.Read(buf)
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) || errors.Is(err, errDetached) != detached {
			t.Errorf("keys %q in %q: got %q, %v", keys, in, got, err)
		}
	})
}
