package httpjson

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

func request(body, contentType string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ body, contentType, want string }{
		"cut short":     {`{"Image":"a"`, "application/json", "invalid JSON: ends in the middle of a value after byte 0"},
		"not JSON":      {`{"Image":}`, "application/json", "invalid JSON at byte 10: invalid character '}' looking for beginning of value"},
		"wrong type":    {`{"HostConfig":{"Memory":"1g"}}`, "application/json", `invalid JSON at byte 28: field "HostConfig.Resources.Memory" must be int64, not string`},
		"more after":    {`{} {}`, "application/json", "invalid JSON: unexpected content after JSON value at byte 4"},
		"rubbish after": {`{} x`, "application/json", "invalid JSON: unexpected content after JSON value at byte 3"},
		"only spaces":   {`   `, "application/json", "invalid JSON: got EOF while reading request body"},
		"no type":       {`{}`, "", "malformed Content-Type header (): mime: no media type"},
		"form":          {`a=b`, "application/x-www-form-urlencoded", "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'"},
	} {
		t.Run(name, func(t *testing.T) {
			var v container.CreateRequest
			err := Read(httptest.NewRecorder(), request(c.body, c.contentType), &v)
			if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestReadTakes(t *testing.T) {
	for name, c := range map[string]struct{ body, contentType string }{
		"parameters":    {`{"Image":"a"}`, "application/json; charset=utf-8"},
		"unknown field": {`{"Image":"a","Later":{"x":1}}`, "application/json"},
		"space after":   {"{\"Image\":\"a\"}\r\n\n", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			var v container.CreateRequest
			if err := Read(httptest.NewRecorder(), request(c.body, c.contentType), &v); err != nil || v.Config == nil || v.Image != "a" {
				t.Errorf("got %+v, %v", v.Config, err)
			}
		})
	}
	if err := Read(httptest.NewRecorder(), request("", ""), nil); err != nil {
		t.Errorf("no body: %v", err)
	}
}

func TestReadStopsAtTheLimit(t *testing.T) {
	for name, body := range map[string]string{
		"within the value": `{"Image":"` + strings.Repeat("a", MaxBody) + `"}`,
		"after the value":  `{}` + strings.Repeat(" ", MaxBody),
	} {
		t.Run(name, func(t *testing.T) {
			var v container.CreateRequest
			err := Read(httptest.NewRecorder(), request(body, "application/json"), &v)
			if tooLarge := new(http.MaxBytesError); !errors.As(err, &tooLarge) || !strings.Contains(err.Error(), "larger than 4194304 bytes") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Image":"a","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"80"}]}}}`))
	f.Add([]byte(`[1,2`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v container.CreateRequest
		if err := Decode(strings.NewReader(string(b)), &v); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v is no invalid argument", b, err)
		}
	})
}
