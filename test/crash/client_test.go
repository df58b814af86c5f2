package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience is how long a client waits. No answer by then is a failure of its
// own.
const patience = 90 * time.Second

// answer is what a client got: a status and a body, or an error of the
// connection, after which nobody knows what was done.
type answer struct {
	call   string
	status int
	body   []byte
	broken error
}

func (a answer) ok() bool      { return a.broken == nil && a.status < 400 }
func (a answer) refused() bool { return a.broken == nil && a.status >= 400 }
func (a answer) late() bool    { return errors.Is(a.broken, context.DeadlineExceeded) }

func (a answer) String() string {
	if a.broken != nil {
		return fmt.Sprintf("%s: no answer: %v", a.call, a.broken)
	}
	return fmt.Sprintf("%s: %d %s", a.call, a.status, bytes.TrimSpace(a.body))
}

// message is what a refusal says.
func (a answer) message() string {
	var m struct{ Message string }
	if json.Unmarshal(a.body, &m) == nil && m.Message != "" {
		return m.Message
	}
	return string(a.body)
}

func (a answer) into(v any) error {
	if !a.ok() {
		return errors.New(a.String())
	}
	return json.Unmarshal(a.body, v)
}

// client speaks to a daemon, over a connection per call.
type client struct{ socket string }

func (c client) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}}
}

// do makes a call to its end. A body that is not nil is sent as JSON.
func (c client) do(method, path string, body any) answer {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			panic(err) // our own types
		}
	}
	return c.call(method, path, b, false)
}

// begin makes a call whose answer goes on, and ends it once it has begun.
func (c client) begin(path string) answer { return c.call(http.MethodPost, path, nil, true) }

func (c client) call(method, path string, body []byte, endless bool) answer {
	a := answer{call: method + " " + path}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://strake"+path, bytes.NewReader(body))
	if err != nil {
		panic(err) // our own paths
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http().Do(req)
	if err != nil {
		a.broken = err
		return a
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	if !endless || !a.ok() {
		a.body, a.broken = io.ReadAll(resp.Body)
	}
	return a
}

func (c client) get(path string) answer            { return c.do(http.MethodGet, path, nil) }
func (c client) post(path string, body any) answer { return c.do(http.MethodPost, path, body) }
func (c client) delete(path string) answer         { return c.do(http.MethodDelete, path, nil) }

// pull makes the error in the stream of a pull the answer's status.
func (c client) pull(ref string) answer {
	name, tag, _ := strings.Cut(ref, "@")
	path := "/images/create?fromImage=" + name
	if tag == "" {
		path += "&tag=latest"
	}
	a := c.post(path, nil)
	if !a.ok() {
		return a
	}
	for line := range bytes.Lines(a.body) {
		var m struct{ Error string }
		if json.Unmarshal(line, &m) == nil && m.Error != "" {
			a.status, a.body = http.StatusInternalServerError, []byte(m.Error)
		}
	}
	if a.ok() && !bytes.Contains(a.body, []byte(`"Status: `)) {
		a.broken = errors.New("the stream ended early")
	}
	return a
}

// lines are those of the standard output in a stream of frames.
func lines(frames []byte) (out []string, err error) {
	var text bytes.Buffer
	for len(frames) > 0 {
		if len(frames) < 8 {
			return nil, fmt.Errorf("frame header of %d bytes", len(frames))
		}
		n := int(frames[4])<<24 | int(frames[5])<<16 | int(frames[6])<<8 | int(frames[7])
		if len(frames) < 8+n {
			return nil, fmt.Errorf("frame of %d bytes is cut after %d", n, len(frames)-8)
		}
		text.Write(frames[8 : 8+n])
		frames = frames[8+n:]
	}
	if text.Len() == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n"), nil
}
