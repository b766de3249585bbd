package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/operator/hostfile"
)

const hostsHelp = `Describe the network state of hosts in files: links, addresses, rules, routes and
next hops in the words of ip(8), a statement a line.`

const hostsDumpHelp = `Describe the network state of this host, for a bug report: its links, addresses,
rules, routes, next-hop objects and the kernel's settings that matter, in the words
of ip(8), a statement a line. mamma need not run, and no privilege is needed.

Private details are replaced, each by the same text throughout a file. An address
is replaced by another one of the same scope; two addresses share a prefix if the
real ones do. A name of an interface that does not follow the usual patterns becomes
if0, if1 and so on. Link-layer addresses are left out. These stay as they are:
documentation networks, loopback and other well-known addresses; the first 8 and
the last 8 bits of IPv4 addresses; the first 12 bits of IPv6 addresses; marks; the
numbers of tables and users. Look at the file before you send it on.

The tests of mamma load such a file into a network namespace of its own. A line such
as "connect 198.51.100.7 from 192.168.0.23 dev wlan0" says what should happen there.`

func (a *app) hostsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hosts", Short: "Describe this host's networks for a bug report", Long: hostsHelp + "\n\n" + exitCodesHelp,
		Args: knownCommand, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(a.hostsDumpCommand())
	return cmd
}

func (a *app) hostsDumpCommand() *cobra.Command {
	var asIs bool
	cmd := &cobra.Command{
		Use: "dump [--as-is]", Short: "Describe this host's networks, with private details replaced", Long: hostsDumpHelp + "\n\n" + exitCodesHelp,
		Example: `  mammactl hosts dump > my.host
  mammactl hosts dump --json |
    jq -r '.state[] | select(.verb == "route").args[0].value'`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			h, err := hostfile.Read()
			if err == nil {
				if !asIs {
					h = h.Private()
				}
				err = a.showHost(h)
			}
			if err != nil {
				return runError{err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asIs, "as-is", false, "replace nothing")
	return cmd
}

func (a *app) showHost(h *hostfile.Host) error {
	if !a.json {
		// Names of interfaces may hold whatever the kernel lets them.
		_, err := io.WriteString(a.out, cleanLines(h.String()))
		return err
	}
	e := json.NewEncoder(display.JSONWriter(a.out))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(h)
}
