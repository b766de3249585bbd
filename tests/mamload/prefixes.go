package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// address gives the host as many further prefixes as options say, all on one of its
// links. It returns the daemon's configuration, by which they are managed if options name
// none.
func (o *options) address(bed *testbed.Bed, dir string) (config string, err error) {
	if o.prefixes == 0 {
		return o.config, nil
	}
	h := bed.Client.Handle()
	link, err := h.LinkByName("wlan0")
	if err != nil {
		return "", err
	}
	for i := range o.prefixes {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, byte(100+i>>8), byte(i), 1), Mask: net.CIDRMask(24, 32)}}
		if err := h.AddrAdd(link, a); err != nil {
			return "", fmt.Errorf("add address %d: %w", i, err)
		}
	}
	if o.config != "" {
		return o.config, nil
	}
	config = filepath.Join(dir, "mamma.conf")
	return config, os.WriteFile(config, []byte("policy \"adaptive\" {}\ninterface \"w*\" {}\n"), 0o600)
}

// connect connects n clients, which ask nothing.
func connect(ctx context.Context, socket string, n int) (list []net.Conn, err error) {
	if _, err := allowFiles(n + spareFiles); err != nil {
		return nil, err
	}
	for range n {
		c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return list, fmt.Errorf("client %d: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// stillOpen returns an error if the daemon has closed one of the connections.
func stillOpen(list []net.Conn) error {
	for i, c := range list {
		if err := c.SetReadDeadline(time.Now()); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the daemon has closed client %d of %d: %w", i+1, len(list), err)
		}
	}
	return nil
}

func closeAll(list []net.Conn) {
	for _, c := range list {
		_ = c.Close()
	}
}
