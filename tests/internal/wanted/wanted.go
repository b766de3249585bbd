// Package wanted has the flags by which the test programs of the Socket Intents
// prototype say what connection they want (doc/original/client-and-socks.md 15), for
// the programs of ours that take their place.
package wanted

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/socket-intents/mamma/intent"
)

// Connection is what the flags say. Its methods are called in their order here.
type Connection struct {
	Protocol  int // 0: that of the transport
	IPVersion int // 4, 6, or 0 for either
	Transport string
	Socket    string // of the manager; "": where it usually is
	Intents   intent.Set

	category string
	filesize int64
}

// AddTo defines the flags; protocols says which numbers mean something to the program.
func (c *Connection) AddTo(fs *pflag.FlagSet, protocols string) {
	fs.IntVar(&c.IPVersion, "ipversion", 0, "4 or 6 (default: either)")
	fs.IntVar(&c.Protocol, "protocol", 0, "protocol number"+protocols+" (default: that of the transport)")
	fs.StringVar(&c.Transport, "transport", "TCP", "TCP or UDP")
	fs.Int64VarP(&c.filesize, "filesize", "F", 0, "file size intent in bytes (default: not stated)")
	fs.StringVarP(&c.category, "category", "C", "", "category intent: query, bulktransfer, controltraffic, keepalives or stream")
	fs.StringVar(&c.Socket, "socket", "", "request socket of the manager (default: where it usually is)")
}

// Settle checks what was given, and sets Intents. Transport is in lower case then.
func (c *Connection) Settle(fs *pflag.FlagSet) (err error) {
	given := c.Transport
	if c.Transport = strings.ToLower(given); c.Transport != "tcp" && c.Transport != "udp" {
		return fmt.Errorf("--transport %s: neither TCP nor UDP", given)
	}
	if c.IPVersion != 0 && c.IPVersion != 4 && c.IPVersion != 6 {
		return fmt.Errorf("--ipversion %d: neither 4 nor 6", c.IPVersion)
	}
	if c.category != "" {
		if c.Intents, err = intent.Parse("category=" + c.category); err != nil {
			return err
		}
	}
	if fs.Changed("filesize") {
		c.Intents = c.Intents.WithFileSize(c.filesize)
	}
	return nil
}

// FileSize is the size that --filesize gives, 0 if it was not given.
func (c *Connection) FileSize() int64 { return c.filesize }
