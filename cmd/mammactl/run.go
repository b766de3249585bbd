package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/placement"
)

const runHelp = `Run a program, unchanged, with its connections on the networks that mamma chooses
for the given intents. TCP and UDP, IPv4 and IPv6, of the program and of all that
it starts, are placed before the kernel connects; data does not pass through
mammactl.

Intents are text such as category=bulktransfer,filesize=300M.
--intents-for states other intents for some connections: those to a port or a
range of ports, to an address or a network, or of a command. The first one that
matches counts.

--rules names a file with more intents, in the syntax of muacsocksd's configuration:

  intents "backup" {
    process     = ["restic", "/usr/bin/borg"]
    destination = "192.0.2.0/24"
    set         = "category=bulktransfer,timeliness=backgroundtraffic"
  }
  learning {
    file = "/home/me/.local/state/mamma/learnt.json"
  }

A block matches if one entry fits of each kind that it gives (destination, port, uid,
process). All blocks that match count, the first one first; then --intents. What usually
goes to a destination is learnt, and counts for connections for which nothing states the
category. It is kept in memory, and in the file if the block "learning" names one and the
run is not inside another one (enabled, hosts and half_life are as in muacsocksd(8)).
port_intents = true gives well-known ports their usual intents. Destinations are seen
as addresses, so rules by host name do not apply.

Left alone are loopback, link-local and multicast destinations, sockets that the
program itself has bound to an address, an interface or a fixed port, and programs
in network namespaces of their own. A datagram socket that is not connected is
placed by the destination of its first datagram.

If the network of a new connection is silent for a second, the others that mamma
offers are tried. If the destination answers over one of them, mamma is told, so that
what is opened next avoids the silent one, and the connection goes there. A program
that waits in connect, poll, select or epoll_wait does not notice: it is stopped for
some milliseconds, as after ^Z and fg. Otherwise it waits as long as it would without
mammactl: with a time limit for sending (SO_SNDTIMEO), with Multipath TCP, with TCP
Fast Open, with a socket that another process has, too (fork(2)), with more than 256
threads, with one of them in a call that fails when it is interrupted (signal(7)), under
a debugger, and, without the right to bind to another device (CAP_NET_RAW), wherever
mamma binds sockets to devices, which it does not with routing = "manage". "mammactl doctor" says whether programs can be stopped here.

A socket stays on the network where it is connected, also when that one dies or a
better one appears: the other end knows a connection, or a datagram socket, by the
address that it has there. What the program opens next goes over a network that
works. QUIC programs that open a new socket when the old one fails, as browsers do,
go on that way.

If no mamma answers, connections go as they would without it, and a line says so once.
Of the connections that are placed, those that the policy refuses fail, with and without
--require (connect fails with "Permission denied").

--require is for those who must not leak over the wrong network. Only loopback is
left alone then: what is not decided, or would leave by another network than mamma
chooses, fails ("Network is unreachable"), and a line says why. That includes
sockets that the program has bound to another address or interface, each further
destination of a datagram socket, source routes, joining groups, and sockets that the
program begins with. Raw, ICMP and SCTP sockets fail ("Permission denied"), as do all
of programs of 32 bits.
It is not a sandbox: a program that wants to can get around it. Not seen are what
connections that others open to the program answer, sockets that other processes
hand to it while it runs, and what other processes do for it, such as a resolver
at 127.0.0.53. With --mptcp, further subflows go where mamma's path manager, or the
kernel's, puts them.

Sockets of Multipath TCP lack some options of TCP, such as TCP_USER_TIMEOUT. A program
that gives up a connection without one of them is better off without --mptcp.

The program runs with no-new-privileges: sudo, ping and others that gain rights when
they are executed do not gain them. A process of mammactl stays until the last
descendant of the program is gone. If it is killed, what they connect from then on
fails with "Function not implemented".

Exit status: that of the program; 125 if mammactl itself failed, 126 if the program
could not be executed, 127 if it was not found.`

const runExample = `  mammactl run --intents category=bulktransfer -- rsync -a host:big .
  mammactl run --intents-for rsync=category=bulktransfer -- ./backup.sh
  mammactl run --verbose --mptcp -- curl -O http://www.example.net/file`

// misplaced finds a flag of run among the program's arguments. It looks only for flags
// that hardly any other program has. It returns "" if there is none.
func misplaced(args []string) string {
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		switch name {
		case "--", "run": // a run inside has the same flags
			return ""
		case "--intents", "--intents-for", "--allow-io-uring", "--no-messages":
			return name
		}
	}
	return ""
}

// networkMeant says what --require of this command is, to those who give it a network as
// explain and get take it, which then is taken for the program.
func networkMeant(require bool, program string) string {
	kind, _, ok := strings.Cut(program, "=")
	if !require || !ok || kind != "interface" && kind != "network" && kind != "cost" {
		return ""
	}
	return "; --require of run takes no network: the policy and the configuration say which networks there are to choose from"
}

func (a *app) runCommand() *cobra.Command {
	var o placement.Options
	var parts []string
	var file string
	cmd := &cobra.Command{
		Use: "run [--intents INTENTS] [--] PROGRAM [ARGUMENT...]", Short: "Run a program and have its connections placed by intents",
		Long: runHelp, Example: runExample, Args: someArgs("a program: mammactl run --intents category=query -- curl URL"), DisableFlagsInUseLine: true,
		ValidArgsFunction: a.completeCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, text := range parts {
				p, err := placement.ParsePart(text)
				if err != nil {
					return usageError{err}
				}
				o.Parts = append(o.Parts, p)
			}
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			if own := misplaced(args[1:]); own != "" {
				a.complain(fmt.Errorf("run: %s comes after %s, so it is an argument of that program; options of mammactl come before the program", own, args[0]))
			}
			status, err := 0, error(nil)
			if file != "" {
				o.Rules, err = placement.ReadRulesFile(cmd.Context(), file)
			}
			if err != nil {
				err = &placement.StartError{Status: placement.StatusFailed, Err: err}
			} else {
				status, err = placement.Run(a.program(), o, args, a.err)
			}
			if failed := (*placement.StartError)(nil); errors.As(err, &failed) {
				a.complain(errors.New("run: " + failed.Error() + networkMeant(o.Require, args[0])))
				return foundError{failed.Status}
			}
			if status != 0 {
				return foundError{status}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // everything after the program belongs to the program
	f.Var(&o.Intents, "intents", "what is known of the connections, such as category=bulktransfer,filesize=300M")
	_ = cmd.RegisterFlagCompletionFunc("intents", completeIntents) // fails only for unknown flags
	f.StringArrayVar(&parts, "intents-for", nil, "intents of some connections, as `WHICH=INTENTS`: of those to a port, to a network, or of a command; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("intents-for", a.completePart)
	f.StringVar(&file, "rules", "", "`FILE` with intents by destination, port, user and program")
	f.BoolVar(&o.Require, "require", false, "refuse what could not be placed, or would leave by another network")
	f.BoolVar(&o.MPTCP, "mptcp", false, "open TCP connections with Multipath TCP where the kernel and the server have it")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "print a line for each connection")
	f.BoolVar(&o.AllowIOURing, "allow-io-uring", false, "let the program use io_uring, whose connections are not placed; else it is told that there is none")
	f.BoolVar(&o.NoMessages, "no-messages", false, "do not look at sendmsg and sendmmsg, which costs some microseconds each")
	f.StringVar(&o.Socket, "socket", "", "path of mamma's request socket (default where it usually is)")
	cmd.Long = strings.TrimSpace(cmd.Long)
	return cmd
}
