package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
)

// maxFrame bounds what a message may make the other side allocate.
const maxFrame = 16 << 20

// ErrTooLong is a message beyond 16 MiB.
var ErrTooLong = errors.New("message longer than 16 MiB")

// Write sends one message in one Write call.
func Write(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return ErrTooLong
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// Read receives one message. It is io.EOF when the other side closed between
// messages.
func Read(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return ErrTooLong
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, message)
}
