# Reference configuration of mamma. It shows every setting with its
# meaning, default and bounds. All values are examples. A setting that
# is left out has its default. "mamma --check FILE" finds the mistakes
# in a file.
#
# Amounts of data are written "300M", "1.5 GB" or "64KiB", durations
# "250ms", "5 s", "1h30m" or "7d". A number without a unit means bytes
# or seconds. Files, flags and intents of all of mamma's programs are
# written like this. The figures of a network in options { } and in
# policies are different: mamma-policy(7) names the unit of each.
#
# Paths should be absolute. A relative one is looked for where mamma is
# started, and as a service that is /.

# Whether mamma manages every global prefix from which the whole
# Internet can be reached, in addition to the prefixes and interfaces
# that are named below. If a VPN takes all traffic, these are only the
# prefixes of the VPN. That includes IPsec without an interface of its
# own. Default: false; without a configuration file, true.
auto = false

# The Unix socket on which mamma answers clients. The path of a socket
# is absolute and has at most 107 bytes (unix(7)). Default:
# $RUNTIME_DIRECTORY/mamma.sock, else /run/mamma/mamma.sock for root,
# else $XDG_RUNTIME_DIR/mamma/mamma.sock.
socket = "/run/mamma/mamma.sock"

# The Unix socket on which mamma answers mammactl. Default: control.sock
# in the directory of the setting socket.
control_socket = "/run/mamma/control.sock"

# The name or number of a group whose members may read from the control
# socket. Default: none.
control_group = "adm"

# A second socket for clients. Programs that were built against the
# library of the Socket Intents prototype look for it at /tmp/muacc and
# nowhere else. Default: "off"; with a file in the grammar of that
# prototype, /tmp/muacc.
compat_socket = "/tmp/muacc"

# A FIFO from which the policy gets configuration strings while mamma
# runs, one in each line. The Socket Intents prototype had one at
# /tmp/mam_config_fifo. Default: "off".
compat_fifo = "/tmp/mam_config_fifo"

# The directories in which mamma looks for a policy plugin that is named
# without a directory. Default: lib/mam-policies below the installation
# prefix.
policy_path = ["/usr/local/lib/mam-policies"]

# Whether sockets are bound to the chosen network's device
# (SO_BINDTODEVICE) in addition to its address: "auto", "always" or
# "never". "auto" means that a socket is bound to the device if the
# routing tables would send its packets out by another one. A connection
# that is permitted only some networks, by the policy, by the program or
# by require and prohibit of a scope, is bound to the device even with
# "never". Default: "auto".
bind_device = "auto"

# Whether mamma changes the routes so that packets leave by the chosen
# network.
# "leave": mamma changes nothing. If routes are missing, bind_device
# makes up for them.
# "manage": mamma makes a routing table for each interface, with the
# default routes of that interface, and source rules that lead to the
# table. A program that binds an address then uses the network of that
# address. This needs CAP_NET_ADMIN. The rules and routes have protocol
# 77. The tables start at 7700. Each rule stands directly before the
# rule that would lead its packets elsewhere, which mostly is the rule
# of table main. So what earlier rules refuse or lead elsewhere stays as
# it is. When mamma ends, it removes its rules and routes.
# Default: "leave".
routing = "leave"

# Addresses that stand for the whole Internet. Mamma sends nothing to
# them. It asks the kernel by which route it would reach each of them.
# The route to most of them counts as the route to the whole Internet.
# Set other addresses if this host has no route to the default ones.
# IPv4 and IPv6 are separate: if you set addresses of one family only,
# the other family keeps its default. Default: 9 addresses of each
# family, spread over the address space.
far_away = ["9.9.9.9", "2620:fe::fe"]

# The directory for data that must survive a restart, such as how much
# of each budget is used. Default: $STATE_DIRECTORY, else /var/lib/mamma
# for root, else $XDG_STATE_HOME/mamma or ~/.local/state/mamma.
state_dir = "/var/lib/mamma"

# Whether mamma uses networks that are metered, expensive or beyond
# their budget only if no other network is left. This holds whatever the
# policy says. Default: the value of auto; without a configuration file,
# true.
avoid_metered = true

# Whether mamma asks other services of this host about its networks:
# NetworkManager, ModemManager, systemd-resolved and systemd-networkd,
# over the system bus (D-Bus). Unless a block below sets the cost of a
# network, the network is "metered" if a service says so, and
# "expensive" if its modem roams. A network that has a login portal or
# does not reach the Internet is used only if nothing speaks for another
# network. "auto": mamma asks as soon as there is such a bus and such a
# service. "off": mamma asks none of them. The path of a socket: mamma
# asks over the bus at that socket. Default: "auto"; with a file of the
# Socket Intents prototype, "off".
system_bus = "auto"

# How mamma tests whether a network works.
probe {
  # When mamma tests. "doubt": while connects fail or connections stall.
  # "always": regularly. "never": not at all. A network that costs
  # something is tested in doubt only, and less often while the doubt
  # lasts. Default: "doubt".
  when = "doubt"
  # What the test is. "dns": mamma asks the network's own name servers,
  # if it has any, for the root servers. "tcp://192.0.2.1:443": mamma
  # opens a connection to this address and closes it. "http://...":
  # mamma requests this page, which must answer with status 204. Portals
  # that want the user to log in answer otherwise. Host names are looked
  # up over the network that is tested. Default: "dns".
  target = "dns"
  # The time between two tests of a network, from "1s" to "1h".
  # Default: "5s".
  interval = "5s"
}

log {
  level  = "info" # "debug", "info", "warn" or "error". Default: "info"
  format = "text" # "text" or "json". Default: "text"
}

sampling {
  # The time between two measurements. It is at least "10ms", because a
  # pass over many connections takes milliseconds. It is at most "10s",
  # because rates are averaged over windows of 10 s. Default: "100ms",
  # as in the Socket Intents prototype.
  interval = "100ms"
  # The share of one processor that reading the host's connections may
  # take, from "0.01%" to "100%". If there are so many of them that not
  # every measurement can read them, the others use what was read last,
  # for up to 30 s. While a network may be silent the share is at least
  # "4%". While nobody asks for half a minute it is half of the setting.
  # Default: "1%".
  cpu = "1%"
}

# The measurement logs of the Socket Intents prototype, which consist of
# comma-separated lines. While mamma writes one of them, it measures an
# idle host as often as a busy one. Default: "off".
logs {
  prefixes   = "/tmp/metrics_prefix.log"
  interfaces = "/tmp/metrics_interface.log"
}

metrics {
  # The address and port at which mamma serves Prometheus metrics over
  # TCP, in addition to the control socket. Default: off.
  listen = "127.0.0.1:9477"
}

decisions {
  # How many past decisions mamma keeps for "mammactl decisions", from 0
  # to 100000. Each takes some hundred bytes of memory. Default: 1024.
  keep = 1024

  # The file in which mamma records each decision for "mammactl replay",
  # together with what the policy saw. The file names hosts and
  # programs, so only its owner can read it. While mamma records,
  # programs ask about every connection and do not reuse an earlier
  # decision. Default: off.
  record = "/var/log/mamma/decisions.jsonl"

  # How large the file may become, at least "1MB". This includes the
  # older part, whose name ends with ".1". Default: "64MB", which is
  # room for some ten thousand decisions.
  record_max = "64MB"
}

mptcp {
  # Who opens the subflows of Multipath TCP connections.
  # "kernel": the kernel opens them, on every connection of the host.
  # Mamma adds an endpoint for each managed network that the policy
  # wants to use, and leaves the endpoints of other programs alone. The
  # policy decides for all connections at once. It cannot veto the
  # subflows of a single connection.
  # "userspace": mamma opens them, as the policy decides for each
  # connection, and as some, such as "adaptive", decide again about one
  # that is late. While mamma runs, the kernel's own path manager
  # (net.mptcp.path_manager) is off for new connections.
  # "off": mamma does nothing about subflows.
  # "kernel" and "userspace" need CAP_NET_ADMIN; "userspace" also needs
  # Linux 5.19. Mamma notes in state_dir what it sets up in the kernel.
  # If mamma is killed, its next run undoes that. Default: "off".
  path_manager = "kernel"
}

# Settings that concern all scopes. The scopes themselves are below.
scopes {
  # The control group below which mamma looks for the processes of
  # scopes: a directory of cgroup2. Default: the directory at which
  # cgroup2 is mounted, so that all processes are looked at.
  cgroup_root = "/sys/fs/cgroup"
  # A directory of a BPF file system. It keeps the kernel's part of the
  # scopes, so that connections are placed also while mamma is started
  # again. Nobody but mamma may be able to write there. "off": no
  # connection is placed while mamma does not run.
  # Default: "/sys/fs/bpf/mamma".
  pin_dir = "/sys/fs/bpf/mamma"
  # Whether connections are still placed after mamma has ended in order,
  # for example because a service manager restarts it. They are placed
  # for ten minutes then, as they are after mamma was killed. The
  # command "mammactl scopes --detach" ends that at once.
  # Default: false.
  keep = false
  # Whether the kernel reports the round-trip times and losses of all TCP
  # connections below cgroup_root to mamma, so that mamma rarely needs to
  # read the kernel's list of them. Only connections count that begin
  # while mamma runs. Default: true.
  measure = true
}

# A scope is a set of connections of programs that know nothing of mamma
# and were not started by "mammactl run". Mamma places each connection
# of the scope on the network that the policy chooses for it. When that
# network goes down, further connections are placed on the alternate at
# once. This needs Linux 5.14, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.
# Mamma gives the first two up when it has loaded the kernel's part, if
# the kernel permits that (Linux 5.19) and mamma is not root.
# There are at most 100 scopes.
# A connection belongs to a scope if all the settings from "unit" to
# "command" match that the scope has. If several scopes match, the most
# specific one counts: a scope with a command comes first, then one with
# a user, then the one whose control group lies deepest, then a name
# before a pattern, then the first in this file. A scope without any of
# these settings has all connections that belong to no other scope.
# Mamma leaves these connections alone: its own, those of sockets that
# their program has bound to an address, a device or a port of its
# choice or has given a mark, those in other network namespaces, and
# those to destinations on the link. A socket that connects again stays
# on the network of its first connection. Connections to a destination
# that has a route other than a default route are left alone until mamma
# has decided about that destination, or refused if the scope has
# require or prohibit.
scope "backup" {
  # The systemd unit or units to which the processes belong: names, or
  # patterns with *, ? and [...] as in path.Match of Go. Slices and
  # control groups can be patterns, too. An ordinary user can choose
  # some names, such as those of the units of the user's own manager.
  # Such a name counts only in a scope for that user. Default: any.
  unit = "backup.service"
  # The systemd slice or slices. Default: any.
  slice = "system.slice"
  # The control groups, as paths that begin at cgroup_root. Control
  # groups below these are included. Default: any.
  cgroup = "/system.slice/backup*"
  # The users, by name or number. Default: any.
  user = ["root", "backup"]
  # The commands, as "ps -e" shows them. A command is the name of the
  # thread that connects and has at most 15 bytes. A program can give
  # itself any name. Default: any.
  command = "rsync"
  # The intents of the connections, written as for "mammactl run".
  # Default: none.
  intents = "category=bulktransfer"
  # Whether intents are guessed from well-known ports, for example that
  # port 22 is interactive. A guess is made only if neither a block
  # "intents" nor the setting states a category. Default: false.
  port_intents = true
  # Whether mamma learns how many bytes TCP connections to each
  # destination carry and how long they last, and gives further
  # connections there the intents of that, as muacsocksd does. A
  # destination is an address and a port. It takes three similar
  # connections, of which the latest are not long ago. Connections of
  # Multipath TCP do not count. What is learnt is used only if neither a
  # block "intents" nor the setting states a category. It comes before
  # port_intents. Each scope learns for itself. What is learnt is kept
  # in the file scopes.json in state_dir. Default: false.
  learning = true
  # Whether these connections use networks that cost something only if
  # no other network is left. Default: false. If avoid_metered at the
  # top level of the file is true, that holds for scopes, too.
  avoid_metered = true
  # Whether TCP sockets of these programs are made for Multipath TCP, so
  # that connections can use several networks if the peer takes part.
  # This needs Linux 6.6, with type information (BTF) and tracing
  # programs that may change results. Some kernels forbid those. Then the
  # sockets stay as they are, and "mammactl scopes" says why. Sockets
  # that exist already do not change. While net.mptcp.enabled is 0,
  # sockets stay as they are, too. A change of that counts a second
  # later if mamma runs; if not, socket(2) fails there until it does, or
  # for ten minutes. Default: false.
  mptcp = true
  # Which networks the connections use. "require": these and no others.
  # "prefer": these if possible. "avoid": others if possible.
  # "prohibit": never these. Each setting is a text or a list of texts:
  # "interface=NAME", "network=NAME" or "cost=WORD". With require or
  # prohibit, a connection that cannot be placed is refused: connect(2)
  # fails in the program. A unit that begins with
  # "ExecStartPre=+mammactl scopes --wait backup" connects to nothing
  # before its connections are placed by this scope. Default: none.
  require = "network=home"
  prefer = "interface=wlan0"
  avoid = "cost=metered"
  prohibit = ["cost=expensive", "interface=wwan0"]
  # The intents of some of the connections. The blocks are as in the
  # configuration of muacsocksd, but no name of a destination and no path
  # of a program can be given. If a connection matches several blocks,
  # all of them count; if these state the same intent, the first block
  # does. They come before the setting "intents". A scope has at most 16
  # such blocks.
  intents "mirror" {
    # What is stated.
    set = "category=bulktransfer, timeliness=backgroundtraffic"
    # Each of the other settings is optional, and a single value or a
    # list. A connection matches if one element of each list does.
    # The networks or addresses of destinations. Default: all.
    destination = ["192.0.2.0/24", "2001:db8::/32"]
    # The ports of destinations. Default: all.
    port = [873, "8000-8999"]
    # The commands, as for the scope itself. Default: all.
    command = "rsync"
  }
}

# The policy decides which network a connection uses. The block has the
# name of a policy that is compiled in, the name of a plugin in
# policy_path, or the path of a plugin. There is at most one such block.
# Without one, the policy is "adaptive" if auto is true. If auto is
# false, mamma answers requests without a suggestion.
policy "threshold" {
  # Each policy has its own settings. Its README lists them.
  logfile = "/var/log/mamma/threshold.csv"
}

# The settings of the host's prefixes that lie inside a network, here
# 192.0.2.0/24. A block with a single address, such as
# prefix "192.0.2.23" {}, is about the one prefix that contains the
# address, whatever the length of that prefix. A block is about loopback
# or link-local prefixes only if its network is loopback or link-local
# itself: prefix "::/0" {} is about neither. If several blocks are about
# a prefix, each setting comes from the block with the longest prefix
# that has the setting.
prefix "192.0.2.0/24" {
  # The name of the network. Programs select networks by name, policy
  # "score" has settings for it, and mammactl shows it. A name consists
  # of letters, digits, "-", "_" and "." and has at most 63 bytes. A
  # name stands for one network, so no two blocks have the same one. The
  # exception is a prefix block for IPv4 and one for IPv6.
  # Default: none.
  name = "home"
  # Whether the network may be used. Default: true, because the block
  # names it.
  enabled = true
  # Whether this network is used if nothing speaks for another one.
  # Default: false; if auto is true, true for the network of the
  # preferred default route.
  default = true
  # What traffic costs: "free", "metered" or "expensive". Default:
  # "free".
  cost = "free"
  # How much may be transferred over the interface in a month, down and
  # up together: an amount with the unit kB, MB, GB, TB, KiB, MiB, GiB
  # or TiB, at least "1kB". When the budget is used up, the network
  # counts as expensive. Default: no limit.
  budget = "5GB"
  # The day on which the month of the budget begins, from 1 to 31. If
  # the calendar month has no such day, the month of the budget begins
  # on the last day. Default: 1.
  budget_reset = 1
  # What becomes of established TCP connections while this network is
  # down. "keep": they wait until the network works again, or until
  # their programs or the kernel give up. "reset": when the network has
  # been down for a second and another network works, mamma ends them
  # with an error (ECONNABORTED), so that their programs can connect
  # anew at once: at most 256 a second, and those of one network at most
  # every 30 seconds. Mamma leaves these connections alone: those that
  # have heard from their peer since then, until they are silent for 30
  # seconds, those to this host, those to neighbours while the link
  # works, and those of Multipath TCP. What programs report counts only
  # if mamma's probes or the kernel say the same. Some programs, curl
  # and Chromium among them, send a POST again by themselves if its
  # connection ends before the answer, so the server may get it twice.
  # "reset" needs CAP_NET_ADMIN. Default: "keep".
  on_down = "keep"
  # Whether mamma asks the name servers that systemd has for the
  # interface, if this block names none. Default: true; in files of the
  # Socket Intents prototype, false.
  link_dns = true
  # The name servers of this network. A port is given if it is not 53.
  # Default: the name servers of link_dns; if there are none, the host's
  # own resolver.
  nameserver = ["192.0.2.1", "[2001:db8::53]:5353"]
  # A file in the format of resolv.conf(5) that names more name servers
  # of this network. Default: none.
  resolvconf = "/run/mamma/resolv.conf"
  # The source address of the questions to name servers.
  # Default: the host's address in this prefix.
  dnsbindto = "192.0.2.23"
  # Settings of this network for the policy. The README of the policy
  # lists them. Most policies have settings that replace a measured
  # figure, as this one does. The value is a number (here of
  # milliseconds) or a text with a unit. Policy "intents" has others,
  # such as  category = "query".
  options {
    srtt_minimum_recent = "20ms"
  }
}

# The same settings, by the name of an interface, for networks whose
# prefixes change. The name may be a pattern with *, ? and [...] as in
# path.Match of Go. If several blocks are about a network, a prefix
# block counts before an interface block, a full name before a pattern,
# and a longer pattern before a shorter one.
interface "wwan*" {
  cost = "metered"
}
