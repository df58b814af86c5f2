package gunzip

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// samples are of the kinds that layers hold, and the extremes.
func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var words strings.Builder
	for words.Len() < 1<<20 {
		fmt.Fprintf(&words, "%s ", strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(4)))
	}
	near := make([]byte, 0, 600_000) // matches of all small distances
	for distance := 1; len(near) < cap(near)-1000; distance = distance%40 + 1 {
		near = append(near, noise[len(near)%1000:][:distance]...)
		for range 3 + r.IntN(300) {
			near = append(near, near[len(near)-distance])
		}
	}
	return map[string][]byte{
		"nothing": {}, "one byte": {7}, "noise": noise, "words": []byte(words.String()), "zeros": make([]byte, 2<<20),
		"matches of small distances": near,
		"a match from far away":      bytes.Repeat(noise[:32<<10], 8),
		"few literals":               bytes.Map(func(c rune) rune { return c & 3 }, noise),
	}
}

func compressed(t testing.TB, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Name, w.Comment, w.Extra, w.ModTime = "name", "comment", []byte("extra"), time.Unix(1e9, 0)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatWasCompressedComesBack(t *testing.T) {
	for name, data := range samples() {
		t.Run(name, func(t *testing.T) {
			for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, 6, flate.BestCompression} {
				z, err := NewReader(bytes.NewReader(compressed(t, level, data)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(z)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("level %d: %d bytes of %d, error %v", level, len(got), len(data), err)
				}
			}
		})
	}
}

func TestWriteToGivesWhatReadGives(t *testing.T) {
	data := samples()["words"]
	z, err := NewReader(bytes.NewReader(compressed(t, 6, data)))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if n, err := z.WriteTo(&got); err != nil || n != int64(len(data)) || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d bytes of %d, error %v", n, len(data), err)
	}
}

// TestInputInAnyPieces gives the input byte by byte, and with errors beside data.
func TestInputInAnyPieces(t *testing.T) {
	for name, data := range samples() {
		gz := compressed(t, 6, data)
		for kind, r := range map[string]io.Reader{
			"bytes": iotest.OneByteReader(bytes.NewReader(gz)), "halves": iotest.HalfReader(bytes.NewReader(gz)),
			"an error beside data": iotest.DataErrReader(bytes.NewReader(gz)),
		} {
			z, err := NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s in %s: %d bytes of %d, error %v", name, kind, len(got), len(data), err)
			}
		}
	}
}

func TestOutputDoesNotWaitForInput(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	w := gzip.NewWriter(pw)
	go func() {
		_, err := w.Write([]byte("early"))
		if err = errors.Join(err, w.Flush()); err != nil {
			t.Error(err)
		}
	}() // and no more
	z, err := NewReader(pr)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(z, b); err != nil || string(b) != "early" {
		t.Errorf("%q, error %v", b, err)
	}
}

func TestMembersFollowOneAnother(t *testing.T) {
	gz := members(t)
	z, err := NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != "abc" {
		t.Errorf("%q, error %v", got, err)
	}
}

// members is a stream of four members, of which one is empty.
func members(t testing.TB) []byte {
	t.Helper()
	var gz []byte
	for _, s := range []string{"a", "", "b", "c"} {
		gz = append(gz, compressed(t, 6, []byte(s))...)
	}
	return gz
}

// TestEveryCutIsTold ends a stream after each of its bytes.
func TestEveryCutIsTold(t *testing.T) {
	text := []byte(strings.Repeat("some text, some more; ", 20))
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, 6} {
		gz := compressed(t, level, text)
		for n := 1; n < len(gz); n++ {
			z, err := NewReader(bytes.NewReader(gz[:n]))
			if err == nil {
				_, err = io.ReadAll(z)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("level %d, %d of %d bytes: error is %v", level, n, len(gz), err)
			}
		}
	}
}

func TestErrorsOfTheSourceComeThrough(t *testing.T) {
	boom := errors.New("boom")
	gz := compressed(t, 6, samples()["words"])
	z, err := NewReader(io.MultiReader(bytes.NewReader(gz[:len(gz)/2]), iotest.ErrReader(boom)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(z); !errors.Is(err, boom) {
		t.Errorf("error is %v", err)
	}
	if _, err := NewReader(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("error is %v", err)
	}
}

// TestDamage changes each bit of a stream: what it means then is either the
// same, or is refused.
func TestDamage(t *testing.T) {
	text := []byte(strings.Repeat("Lorem ipsum dolor sit amet ", 30))
	gz := compressed(t, 6, text)
	for bit := range 8 * len(gz) {
		bad := bytes.Clone(gz)
		bad[bit/8] ^= 1 << (bit % 8)
		z, err := NewReader(bytes.NewReader(bad))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(z)
		}
		if err == nil && !bytes.Equal(got, text) {
			t.Errorf("bit %d: other bytes and no error", bit)
		}
	}
}

func TestChecksumAndSizeAreVerified(t *testing.T) {
	gz := compressed(t, 6, []byte("text"))
	for _, at := range []int{len(gz) - 8, len(gz) - 1} {
		bad := bytes.Clone(gz)
		bad[at]++
		z, err := NewReader(bytes.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); !errors.Is(err, ErrChecksum) || string(got) != "text" {
			t.Errorf("%q, error %v", got, err)
		}
	}
}

func TestWhatIsNoStreamIsRefused(t *testing.T) {
	for _, s := range []string{"plain text of some length", "\x1f\x8b\x07 other method"} {
		if _, err := NewReader(strings.NewReader(s)); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: error is %v", s, err)
		}
	}
}
