// Package httpjson reads and writes the JSON bodies of the Docker Engine API.
package httpjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"
)

// MaxBody is the most bytes of a JSON body that are read.
const MaxBody = 4 << 20

// drain is how much more of a body that is too long is read, and thrown away.
const drain = 64 << 20

// Read decodes a request's body into v. A request without a body leaves v
// alone. ErrInvalidArgument says where the body is not what it should be;
// *http.MaxBytesError when it is longer than MaxBody. Fields that v does not
// have are ignored, as the API promises its clients.
func Read(w http.ResponseWriter, r *http.Request, v any) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if err := checkType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	err := Decode(http.MaxBytesReader(w, r.Body, MaxBody), v)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		// A client that is still sending when the connection ends does not
		// read why.
		if _, drainErr := io.CopyN(io.Discard, r.Body, drain); drainErr != nil && !errors.Is(drainErr, io.EOF) {
			return errors.Join(err, drainErr)
		}
	}
	return err
}

// checkType accepts application/json with any parameters.
func checkType(header string) error {
	t, _, err := mime.ParseMediaType(header)
	if err != nil {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("malformed Content-Type header (%s): %v", header, err))
	}
	if t != "application/json" {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("unsupported Content-Type header (%s): must be 'application/json'", header))
	}
	return nil
}

// Decode reads one JSON value and nothing after it.
func Decode(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(v); err != nil {
		return explain(err, d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return explain(err, 0)
		}
		return fmt.Errorf("invalid JSON: unexpected content after JSON value at byte %d: %w", d.InputOffset(), errdefs.ErrInvalidArgument)
	}
	return nil
}

func explain(err error, offset int64) error {
	var (
		syntax   *json.SyntaxError
		typ      *json.UnmarshalTypeError
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("request body is larger than %d bytes: send less: %w", tooLarge.Limit, err)
	case errors.As(err, &syntax):
		return fmt.Errorf("invalid JSON at byte %d: %w: %w", syntax.Offset, err, errdefs.ErrInvalidArgument)
	case errors.As(err, &typ):
		return fmt.Errorf("invalid JSON at byte %d: field %q must be %s, not %s: %w", typ.Offset, typ.Field, typ.Type, typ.Value, errdefs.ErrInvalidArgument)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("invalid JSON: got EOF while reading request body: %w", errdefs.ErrInvalidArgument)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("invalid JSON: ends in the middle of a value after byte %d: %w", offset, errdefs.ErrInvalidArgument)
	}
	return fmt.Errorf("invalid JSON: %w: %w", err, errdefs.ErrInvalidArgument)
}

// Write answers with v as JSON. An error means that the client did not get it.
func Write(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	return encoder(w).Encode(v)
}

// Encode is the body that Write would write.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	err := encoder(&b).Encode(v)
	return b.Bytes(), err
}

// WriteEncoded answers with what Encode made, and with its length.
func WriteEncoded(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

const contentType = "application/json"

func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
