//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/bsd"
)

// connect takes all steps, until one of the addresses is connected to.
func (o *options) connect(ctx context.Context, out io.Writer) error {
	daemon := &client.Daemon{Path: o.socket}
	defer func() { _ = daemon.Close() }()
	c := &bsd.Context{Daemon: daemon}
	if err := c.SetIntents(o.intents); err != nil {
		return err
	}
	list, err := o.resolve(ctx, c)
	if err != nil {
		return err
	}
	if o.resolveOnly {
		_, err := fmt.Fprintf(out, "--- resolved\n%v", c)
		return err
	}
	var failed []error
	for i := range list {
		err := o.connectTo(ctx, c.Clone(), &list[i], out)
		if err == nil {
			return nil
		}
		failed = append(failed, fmt.Errorf("%v: %w", list[i].Addr, err))
	}
	return errors.Join(failed...)
}

// resolve finds what to connect to.
func (o *options) resolve(ctx context.Context, c *bsd.Context) ([]bsd.AddrInfo, error) {
	host, hints := o.host, o.hints
	if o.literal.IsValid() {
		host, hints.Flags = o.address, bsd.AINumericHost
	}
	if o.connectOnly {
		c = nil
	}
	return c.Getaddrinfo(ctx, host, strconv.Itoa(int(o.remote)), &hints)
}

// connectTo connects to one address and does the transfer.
func (o *options) connectTo(ctx context.Context, c *bsd.Context, to *bsd.AddrInfo, out io.Writer) (err error) {
	fd, err := c.Socket(to.Family, to.Type, to.Protocol)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(fd)) }()
	if o.local != 0 {
		local := netip.IPv4Unspecified()
		if to.Family == bsd.AFInet6 {
			local = netip.IPv6Unspecified()
		}
		if err := c.Bind(fd, netip.AddrPortFrom(local, o.local)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "--- before connecting\n%v", c)
	begun := time.Now()
	if err := c.Connect(ctx, fd, to.Addr); err != nil {
		return err
	}
	connected := time.Now()
	_, _ = fmt.Fprintf(out, "--- connected\n%v", c)
	if err := o.transfer(fd); err != nil {
		return err
	}
	return o.log(connected.Sub(begun), time.Since(connected))
}

// transfer sends and receives what was asked for.
func (o *options) transfer(fd int) error {
	if !o.download && !o.upload || o.filesize <= 1 {
		return nil
	}
	twin, err := unix.Dup(fd)
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(twin), "socket")
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	if o.upload {
		if _, err := io.CopyN(nc, zeros{}, o.filesize); err != nil {
			return fmt.Errorf("upload: %w", err)
		}
	}
	if o.download {
		if _, err := io.CopyN(io.Discard, nc, o.filesize); err != nil {
			return fmt.Errorf("download: %w", err)
		}
	}
	return nil
}

// zeros is an endless source of zero bytes.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// log appends the line of this run.
func (o *options) log(connect, transfer time.Duration) error {
	if o.logfile == "" {
		return nil
	}
	f, err := os.OpenFile(o.logfile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if !o.download && !o.upload {
		transfer = 0
	}
	_, err = fmt.Fprintf(f, "%v,%.3f,%.3f\n", uuid.New(), ms(connect), ms(transfer))
	return errors.Join(err, f.Close())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
