package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watcher tells of changes to nftables, by whomever.
type Watcher struct{ ask, hear *netlink.Conn }

// NewWatcher connects to the kernel.
func NewWatcher() (*Watcher, error) {
	ask, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("nftables: watch: %w", err)
	}
	hear, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nftables: watch: %w", err), ask.Close())
	}
	return &Watcher{ask: ask, hear: hear}, nil
}

// Generation returns a number that changes with every change of any rules of
// nftables in the namespace.
func (w *Watcher) Generation() (uint32, error) {
	msgs, err := w.ask.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   make([]byte, genHeader),
	})
	if err != nil {
		return 0, fmt.Errorf("nftables: generation: %w", err)
	}
	for _, m := range msgs {
		ad, err := netlink.NewAttributeDecoder(m.Data[genHeader:])
		if err != nil {
			return 0, fmt.Errorf("nftables: generation: %w", err)
		}
		ad.ByteOrder = binary.BigEndian
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), nil
			}
		}
	}
	return 0, errors.New("nftables: generation: the kernel does not tell")
}

// genHeader is the size of struct nfgenmsg.
const genHeader = 4

// Listen signals changes until ctx ends. A signal that nobody has taken yet
// stands for all that follow.
func (w *Watcher) Listen(ctx context.Context, changed chan<- struct{}) error {
	stop := context.AfterFunc(ctx, func() { w.hear.Close() }) //nolint:errcheck // Receive tells
	defer stop()
	for {
		_, err := w.hear.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: too many to tell, so there were some
			return fmt.Errorf("nftables: watch: %w", err)
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// Close ends the connections.
func (w *Watcher) Close() error {
	err := w.hear.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, w.ask.Close())
}
