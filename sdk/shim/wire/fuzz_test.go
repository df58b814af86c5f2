package wire

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzRead(f *testing.F) {
	for _, m := range []any{
		Request{Seq: 1, Op: OpExec, Exec: "e", Process: json.RawMessage(`{"args":["sh"]}`), IO: IO{Terminal: true, Width: 80}},
		Reply{Seq: 1, State: &State{Status: Running, Pid: 7}, Spans: []Span{{Name: "create"}}},
		Reply{Event: &Event{Kind: Exited, Exit: &Exit{Code: 137, Known: true}}},
	} {
		var b bytes.Buffer
		if err := Write(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte("\x00\x00\x00\x02[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []any{&Request{}, &Reply{}} {
			if Read(bytes.NewReader(data), m) != nil {
				continue
			}
			if err := Write(&bytes.Buffer{}, m); err != nil {
				t.Errorf("%T was read and cannot be written: %v", m, err)
			}
		}
	})
}
