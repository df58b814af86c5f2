package main

import (
	"errors"
	"net"
	"os"
)

// notify tells systemd, when it started the daemon as Type=notify, how things
// stand: "READY=1", "STOPPING=1" (sd_notify(3)).
func notify(state string) (err error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	_, err = c.Write([]byte(state))
	return err
}
