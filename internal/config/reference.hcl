# Reference configuration of mamma: every setting, what it does, its
# default and bounds. All values are examples; a setting that is left
# out has its default. "mamma --check FILE" tells whether a file is
# right.
#
# Amounts of data are written "300M", "1.5 GB" or "64KiB", durations
# "250ms", "5 s", "1h30m" or "7d". A number alone is one of bytes, or of
# seconds. This holds for all that mamma and its programs read: files,
# flags and intents. Figures of a network in options { } and in policies
# are in the unit that mamma-policy(7) names.

# Whether mamma manages every global prefix that leads to everywhere, in
# addition to the prefixes and interfaces named below. Where a VPN takes
# all traffic, IPsec without an interface of its own included, those are
# the VPN's only. Default: false; without a configuration file, true.
auto = false

# The Unix socket that clients speak to. Default:
# $RUNTIME_DIRECTORY/mamma.sock, else /run/mamma/mamma.sock for root,
# else $XDG_RUNTIME_DIR/mamma/mamma.sock. An absolute path of at most
# 107 bytes (unix(7)), as for every socket.
socket = "/run/mamma/mamma.sock"

# The socket that mammactl speaks to. Default: control.sock in the
# directory of the request socket.
control_socket = "/run/mamma/control.sock"

# Name or number of a group that may read from the control socket.
# Default: none.
control_group = "adm"

# A second request socket, for programs built against the library of the
# Socket Intents prototype, which know only /tmp/muacc.
# Default: off; with a file in the grammar of that prototype, /tmp/muacc.
compat_socket = "/tmp/muacc"

# A FIFO that takes run-time configuration strings for the policy, one a
# line, as the Socket Intents prototype had at /tmp/mam_config_fifo.
# Default: off.
compat_fifo = "/tmp/mam_config_fifo"

# The directories in which mamma looks for a plugin that is named
# without one. Default: lib/mam-policies below the installation prefix.
policy_path = ["/usr/local/lib/mam-policies"]

# Whether sockets are bound to the chosen network's device
# (SO_BINDTODEVICE) in addition to its address. "auto": only where the
# routing tables would send the packets by another device. "always" or
# "never". Default: "auto".
bind_device = "auto"

# Whether mamma changes the routes so that packets leave by the chosen
# network.
# "leave": mamma changes nothing; where routes are missing, bind_device
# helps.
# "manage": mamma gives each interface a table with its default routes,
# and adds source rules that lead to the table. A program that binds an
# address then gets the network of that address. This needs
# CAP_NET_ADMIN. Rules and routes are marked with protocol 77; tables
# start at 7700. The rules come directly before the one that would lead
# packets elsewhere, mostly that of table main: what earlier rules
# refuse, or lead elsewhere, stays so. Mamma removes all of them at the
# end. Default: "leave".
routing = "leave"

# Addresses that stand for the whole Internet. Nothing is sent to them:
# mamma asks the kernel how it would reach them, and takes the way to
# most of them for the way to everywhere. Set them if this host has no
# route to the usual ones. IPv4 and IPv6 are separate: setting addresses
# of one leaves the default of the other. Default: 9 addresses of each,
# spread over the address space.
far_away = ["9.9.9.9", "2620:fe::fe"]

# The directory for what must survive a restart, such as how much of the
# budgets is used. Default: $STATE_DIRECTORY, else /var/lib/mamma for
# root, else $XDG_STATE_HOME/mamma or ~/.local/state/mamma.
state_dir = "/var/lib/mamma"

# Whether networks that are metered, expensive or beyond their budget
# are used only when no other network is left, whatever the policy would
# say. Default: the value of auto; without a configuration file, true.
avoid_metered = true

# Whether mamma asks other services of this host what they know of its
# networks: NetworkManager, ModemManager, systemd-resolved and
# systemd-networkd, over the system bus (D-Bus). A network that they
# call metered is "metered", one where a modem roams "expensive", unless
# its cost is given below; one with a portal, or without the Internet,
# is used only where nothing speaks for another one. "auto": as soon as
# there is such a bus and such a service. "off": nobody is asked. The
# path of a socket: that of another bus. Default: "auto"; with a file of
# the Socket Intents prototype, "off".
system_bus = "auto"

# How mamma tests whether a network works.
probe {
  # When to test. "doubt": while connects fail or connections stall.
  # "always": regularly. "never". Default: "doubt".
  # A network that costs something is tested in doubt only, and less
  # often while the doubt lasts.
  when = "doubt"
  # What the test is. "dns": the network's own name servers, if it has
  # any, are asked for the root servers. "tcp://192.0.2.1:443": a
  # connection is opened and closed. "http://...": the page must answer
  # with status 204; this finds portals that want the user to log in.
  # Names are resolved on the network. Default: "dns".
  target = "dns"
  # Time between two probes of a network. Default: "5s". Between "1s"
  # and "1h".
  interval = "5s"
}

log {
  level  = "info" # "debug", "info", "warn" or "error". Default: "info"
  format = "text" # "text" or "json". Default: "text"
}

sampling {
  # Time between two measurements. Default: "100ms", as in the Socket
  # Intents prototype. At least "10ms", because a pass over many
  # connections takes milliseconds. At most "10s", because rates are
  # averaged over windows of 10 s.
  interval = "100ms"
}

# The measurement logs of the Socket Intents prototype, as
# comma-separated lines. While one is written, a host where nothing
# happens is measured as often as any other. Default: off.
logs {
  prefixes   = "/tmp/metrics_prefix.log"
  interfaces = "/tmp/metrics_interface.log"
}

metrics {
  # Address and port at which Prometheus metrics are served over TCP, in
  # addition to the control socket. Default: off.
  listen = "127.0.0.1:9477"
}

decisions {
  # How many past decisions are kept for "mammactl decisions": 0 to
  # 100000. Each takes some hundred bytes of memory. Default: 1024.
  keep = 1024

  # The file to which decisions are recorded, together with what the
  # policy saw, for "mammactl replay". It names hosts and programs, so
  # only its owner can read it. Programs then ask about each connection,
  # and follow no earlier decision. Default: off.
  record = "/var/log/mamma/decisions.jsonl"

  # How large the file may become. The older part, whose name ends with
  # ".1", counts too. Default: "64MB", some ten thousand decisions. At
  # least "1MB".
  record_max = "64MB"
}

mptcp {
  # Who opens the subflows of Multipath TCP connections.
  # "kernel": the kernel does, on every connection of the host. Mamma
  # adds an endpoint for each managed network that the policy wants
  # used, and leaves the endpoints of other programs alone. The policy
  # is asked about all connections at once: it cannot veto the subflows
  # of a single one.
  # "userspace": mamma does, as the policy says for each connection.
  # While mamma runs, the kernel's own path manager
  # (net.mptcp.path_manager) is off for new connections.
  # "off": mamma has no part in it.
  # "kernel" and "userspace" need CAP_NET_ADMIN; "userspace" needs Linux
  # 5.19. What mamma sets up in the kernel is noted in state_dir: if
  # mamma is killed, the next run undoes it. Default: "off".
  path_manager = "kernel"
}

# What concerns all scopes, which are below.
scopes {
  # The control group below which scopes are looked for: a directory of
  # cgroup2. Default: where cgroup2 is mounted, which is everything.
  cgroup_root = "/sys/fs/cgroup"
  # A directory of a BPF file system, for what places connections while
  # mamma is started again. Nobody else may be able to write there.
  # "off": nothing is placed while mamma does not run. Default:
  # "/sys/fs/bpf/mamma".
  pin_dir = "/sys/fs/bpf/mamma"
  # Whether connections go on to be placed after mamma has ended in
  # order, as where a service manager stops and starts it. They are
  # placed for ten minutes then, as after mamma was killed; "mammactl
  # scopes --detach" ends that at once. Default: false.
  keep = false
}

# Connections of programs that know nothing of mamma and are not started
# by "mammactl run": those of the scope are placed on the network that
# the policy chooses for them. This needs Linux 5.14, CAP_BPF and
# CAP_NET_ADMIN. A connection belongs to the scope all of whose settings
# up to "command" match; of several the most specific counts: one with a
# command comes first, then one with a user, then the one whose control
# group lies deepest, then a name before a pattern, then the first in
# this file. A scope without any of these is about all connections that
# no other one is about. At most 100 scopes.
# Left alone are mamma's own connections, sockets that their program has
# bound to an address or a device or given a mark, those of other
# network namespaces, and destinations on the link. What has a route of
# its own, other than a default route, is left alone until it was
# decided on.
scope "backup" {
  # The systemd unit or units that the processes are in: names or
  # patterns with *, ? and [...], as in path.Match of Go, here and
  # below. Names that an ordinary user can give, as to units of the
  # user's own manager, count only in a scope for that user. Default:
  # any.
  unit = "backup.service"
  # The slice or slices, from systemd's slice units. Default: any.
  slice = "system.slice"
  # The control groups, by their path from cgroup_root. What is below is
  # meant too. Default: any.
  cgroup = "/system.slice/backup*"
  # The users, by name or number. Default: any.
  user = ["root", "backup"]
  # The commands, as "ps -e" shows them: the name of the thread that
  # connects, at most 15 bytes. A program can call itself as it likes.
  # Default: any.
  command = "rsync"
  # The intents of the connections, as for "mammactl run". Default:
  # none.
  intents = "category=bulktransfer"
  # Whether networks that cost something are kept for when no other is
  # left. Default: false, or what avoid_metered of the file says.
  avoid_metered = true
  # The networks that the connections may take, are to take if they can,
  # are to leave to others if they can, and may not take: each a text or
  # a list of "interface=NAME", "network=NAME" or "cost=WORD". With
  # require or prohibit, what cannot be placed is refused: the program's
  # connect(2) fails. Default: none.
  require = "network=home"
  prefer = "interface=wlan0"
  avoid = "cost=metered"
  prohibit = ["cost=expensive", "interface=wwan0"]
}

# The policy: the name of one that is compiled in, the name of a plugin
# in the policy path, or the path of a plugin. At most one block.
# Without the block the policy is "threshold" if auto is true; otherwise
# requests are answered without a suggestion.
policy "threshold" {
  # Settings are the policy's own; its README lists them.
  logfile = "/var/log/mamma/threshold.csv"
}

# The settings of the host's prefixes that lie inside a network. With a
# single address, such as prefix "192.0.2.23" {}, the block is about the
# one prefix that holds the address, whatever its length. Loopback and
# link-local prefixes are meant only by a network that is one of these
# itself, not by prefix "::/0" {}. If several blocks are about a prefix,
# each setting is taken from the one with the longest prefix among those
# that have the setting.
prefix "192.0.2.0/24" {
  # What the network is called. Programs select networks by this name,
  # policy "score" knows it, and mammactl shows it: letters, digits,
  # "-", "_" and ".", at most 63 bytes. A name stands for one network:
  # no other block may have it, but for a prefix block of the other
  # address family. Default: none.
  name = "home"
  # Whether the network may be used. Default: true, because the block
  # names it.
  enabled = true
  # Whether the network is used where nothing speaks for another one.
  # Default: false; with auto, true for the network of the preferred
  # default route.
  default = true
  # What traffic costs: "free", "metered" or "expensive". Default:
  # "free".
  cost = "free"
  # How many bytes may be transferred over the interface in a month,
  # down and up together: an amount with unit kB, MB, GB, TB, or KiB,
  # MiB, GiB, TiB, at least "1kB". Once they are used up, the network is
  # expensive. Default: no limit.
  budget = "5GB"
  # The day on which the month begins, from 1 to 31. A shorter month
  # begins on its last day. Default: 1.
  budget_reset = 1
  # Whether to ask the name servers that systemd knows for the
  # interface, if none are given here. Default: true; in files of the
  # Socket Intents prototype, false.
  link_dns = true
  # The name servers to ask on this network, with port if that is not
  # 53. Default: those of link_dns; if there are none, the host's own
  # resolver.
  nameserver = ["192.0.2.1", "[2001:db8::53]:5353"]
  # A file in the format of resolv.conf(5) with further name servers.
  # Default: none.
  resolvconf = "/run/mamma/resolv.conf"
  # The source address of queries. Default: the address in this prefix.
  dnsbindto = "192.0.2.23"
  # Settings of this network for the policy; its README lists them. Most
  # policies take figures that replace what is measured, such as this
  # one: a number, here of milliseconds, or a text with its unit. Policy
  # "intents" takes  category = "query".
  options {
    srtt_minimum_recent = "20ms"
  }
}

# The same settings by the name of an interface, for networks whose
# prefixes change. A pattern with *, ? and [...] is possible, as in
# path.Match of Go. If several blocks are about a network, a prefix
# block comes first, then a full name, then the longer pattern.
interface "wwan*" {
  cost = "metered"
}
