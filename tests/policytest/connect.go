//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/bsd"
)

// report says what happens: a line for each step, and contexts unless they are not
// wanted.
type report struct {
	out      io.Writer
	contexts bool
}

func (r report) step(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r report) context(when string, c *bsd.Context) {
	if r.contexts {
		r.step("--- context %s\n%v", when, c)
	}
}

// leave lets an original manager answer what it was asked before the program ends.
func leave(ctx context.Context, d *client.Daemon) {
	_ = d.Flush(context.WithoutCancel(ctx))
	_ = d.Close()
}

// connect takes all steps, until one of the addresses is connected to.
func (o *options) connect(ctx context.Context, r report) error {
	daemon := &client.Daemon{Path: o.Socket}
	defer leave(ctx, daemon)
	c := &bsd.Context{Daemon: daemon}
	if err := c.SetIntents(o.Intents); err != nil {
		return err
	}
	local, err := o.resolveLocal(ctx, c, r)
	if err != nil {
		return err
	}
	list, err := o.resolve(ctx, c, r)
	if err != nil {
		return err
	}
	if o.resolveOnly {
		r.step("Resolve-only mode: not connecting")
		return nil
	}
	var failed []error
	for i := range list {
		err := o.connectTo(ctx, c.Clone(), &list[i], local, r)
		if err == nil {
			return nil
		}
		failed = append(failed, fmt.Errorf("%v: %w", list[i].Addr, err))
	}
	return errors.Join(failed...)
}

// resolveLocal finds what to bind to where a local port is wanted: an address to
// listen at, of each family.
func (o *options) resolveLocal(ctx context.Context, c *bsd.Context, r report) ([]bsd.AddrInfo, error) {
	if o.local == 0 {
		return nil, nil
	}
	r.step("Local port %d: doing local name resolution", o.local)
	hints := o.hints
	hints.Flags |= bsd.AIPassive
	list, err := c.Getaddrinfo(ctx, "", strconv.Itoa(int(o.local)), &hints)
	r.context("after local resolution", c)
	return list, err
}

// resolve finds what to connect to. An address needs nobody's help.
func (o *options) resolve(ctx context.Context, c *bsd.Context, r report) ([]bsd.AddrInfo, error) {
	host, hints := o.host, o.hints
	if o.literal.IsValid() {
		host, hints.Flags = o.address, bsd.AINumericHost
	}
	asked := c
	if o.connectOnly || o.literal.IsValid() {
		asked = nil
	} else {
		r.context("before the resolve request", c)
		r.step("Sending a resolve request to the manager")
	}
	list, err := asked.Getaddrinfo(ctx, host, strconv.Itoa(int(o.remote)), &hints)
	if err == nil && asked != nil {
		r.context("after the resolve request", c)
	}
	return list, err
}

// connectTo connects to one address, from the local one of its family if there are
// some, and does the transfer.
func (o *options) connectTo(ctx context.Context, c *bsd.Context, to *bsd.AddrInfo, local []bsd.AddrInfo, r report) (err error) {
	fd, err := c.Socket(to.Family, to.Type, to.Protocol)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(fd)) }()
	for _, from := range local {
		if from.Family != to.Family {
			continue
		}
		if err := c.Bind(fd, from.Addr); err != nil {
			return err
		}
		break
	}
	r.context("before the connect request", c)
	r.step("Remote address to connect to: %v", to.Addr)
	r.step("Sending a connect request to the manager")
	begun := time.Now()
	if err := c.Connect(ctx, fd, to.Addr); err != nil {
		return err
	}
	connected := time.Now()
	r.context("after the connect request", c)
	r.step("Connection successful")
	if err := o.transfer(fd); err != nil {
		return err
	}
	return o.log(connected.Sub(begun), time.Since(connected))
}

// transfer sends and receives what was asked for.
func (o *options) transfer(fd int) error {
	if !o.download && !o.upload || o.FileSize() <= 1 {
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
		if _, err := io.CopyN(nc, zeros{}, o.FileSize()); err != nil {
			return fmt.Errorf("upload: %w", err)
		}
	}
	if o.download {
		if _, err := io.CopyN(io.Discard, nc, o.FileSize()); err != nil {
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
