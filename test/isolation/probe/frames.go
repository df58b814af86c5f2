package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mark begins what forged frames carry; a word for the kind and one for who
// sent it follow.
const mark = "forged:"

// broadcast is the address that all on a network listen to.
var broadcast = []byte{255, 255, 255, 255, 255, 255}

// everything is ETH_P_ALL in the order of the network.
const everything = uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8)

// forge sends frames for a second that claim to be of another container, with
// its IPv4 address and the hardware address that goes with it.
func forge(victim, who string) error {
	ip := net.ParseIP(victim).To4()
	if ip == nil {
		return fmt.Errorf("%q is no IPv4 address", victim)
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(everything))
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: everything, Ifindex: eth0.Index}
	theirs := append([]byte{2, 0x42}, ip...)
	for range 10 {
		for _, frame := range [][]byte{
			arp(eth0.HardwareAddr, ip, mark+"arp:"+who),
			udp(eth0.HardwareAddr, ip, mark+"address:"+who),
			udp(theirs, ip, mark+"hardware-address:"+who),
		} {
			if err := unix.Sendto(fd, frame, 0, to); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// arp answers for ip with a hardware address (RFC 826).
func arp(from, ip []byte, text string) []byte {
	b := append(append(append([]byte{}, broadcast...), from...), 8, 6)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 2)
	b = append(append(b, from...), ip...)
	b = append(append(b, broadcast...), ip...)
	return append(b, text...)
}

// udp is a datagram from ip to the broadcast address (RFC 791, RFC 768).
func udp(from, ip []byte, text string) []byte {
	h := make([]byte, 28)
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(text))) //nolint:gosec // short
	copy(h[12:], ip)
	copy(h[16:], broadcast[:4])
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum+sum>>16)) //nolint:gosec // the sum's carry is added
	binary.BigEndian.PutUint16(h[22:], 9)                    // discard
	binary.BigEndian.PutUint16(h[24:], uint16(8+len(text)))  //nolint:gosec // short
	b := append(append(append([]byte{}, broadcast...), from...), 8, 0)
	return append(append(b, h...), text...)
}

// listen prints each kind of forged frame that arrives, once, until it is killed.
func listen() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(everything))
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	fmt.Fprintln(os.Stdout, "listening")
	seen := map[string]bool{}
	for b := make([]byte, 65536); ; {
		n, err := unix.Read(fd, b)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return err
		}
		_, text, found := bytes.Cut(b[:n], []byte(mark))
		text, _, _ = bytes.Cut(text, []byte{0}) // what pads a frame
		if found && !seen[string(text)] {
			seen[string(text)] = true
			fmt.Fprintln(os.Stdout, string(text))
		}
	}
}
