package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/rawmanager"
)

// If a proxy's client leaves, the connection to an original daemon stays open until the
// daemon has answered.
func TestNoConnectionIsClosedBeforeItsAnswer(t *testing.T) {
	s := rawmanager.StartSlow(t)
	conf := filepath.Join(t.TempDir(), "socks.conf")
	if err := os.WriteFile(conf, []byte("listen = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "--config", conf)
	cmd.Env = append(os.Environ(), "MAMMA_SOCKET="+s.Path)
	p := start(t, cmd)
	s.GiveUp(t, func(ctx context.Context) {
		c, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := fmt.Fprint(c, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Error(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("the manager was not asked")
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		p.log.await(t, `msg=request .*command=connect`, 1)
	})
}

// A proxy that is ended waits until an original daemon has answered, whether the
// proxy's clients have left or are cut off.
func TestEndAfterTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		drain string
		stays bool // the client stays
		again bool // the signal is sent again
	}{
		{"client gone", "30s", false, false},
		{"client cut off", "10ms", true, false},
		{"twice", "30s", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := rawmanager.StartSlow(t)
			conf := filepath.Join(t.TempDir(), "socks.conf")
			text := "listen = \"127.0.0.1:0\"\ntimeouts {\n  drain = \"" + tt.drain + "\"\n}\n"
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, "--config", conf)
			cmd.Env = append(os.Environ(), "MAMMA_SOCKET="+s.Path)
			p := start(t, cmd)
			var c net.Conn
			s.GiveUp(t, func(ctx context.Context) {
				var err error
				if c, err = net.DialTimeout("tcp", p.addr, patience); err != nil {
					t.Error(err)
					return
				}
				if _, err := fmt.Fprint(c, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Error(err)
				}
				<-ctx.Done() // the manager has been asked
				p.signal(t, syscall.SIGTERM)
				switch {
				case tt.again:
					p.log.await(t, "waiting for clients", 1)
					p.signal(t, syscall.SIGTERM)
				case !tt.stays:
					p.log.await(t, "waiting for clients", 1)
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
				p.log.await(t, "waiting for the Multi Access Manager", 1)
			})
			p.exit(t)
			if c != nil {
				_ = c.Close()
			}
		})
	}
}
