package app

import (
	"context"
	"encoding/json"
	"net"

	"github.com/moby/moby/client"
)

// dialer adapts the client's dialer, which knows the address, to http.Transport.
func dialer(c *client.Client) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dialer()(ctx) }
}

// message is the text of an API error, or the HTTP status where the body has
// none.
func message(body []byte, status string) string {
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &m) != nil || m.Message == "" {
		return status
	}
	return m.Message
}
