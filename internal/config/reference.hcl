# Reference configuration of mamma: every setting, what it does, its default and
# bounds. All values are examples; a setting that is left out has its default.
# "mamma --check FILE" tells whether a file is right.

# Manage every global prefix on an interface that has a default route, besides
# those named below. Default: false, but true if there is no file at all.
auto = false

# The Unix socket that clients speak to. Default: $RUNTIME_DIRECTORY/mamma.sock,
# else /run/mamma/mamma.sock for root, else $XDG_RUNTIME_DIR/mamma/mamma.sock.
# An absolute path of at most 107 bytes (unix(7)), as for every socket.
socket = "/run/mamma/mamma.sock"

# The socket that mammactl speaks to. Default: control.sock beside the former.
control_socket = "/run/mamma/control.sock"

# Name or number of a group that may read from the control socket. Default:
# none.
control_group = "adm"

# A second path of the request socket, for programs built against the library of
# the original Socket Intents prototype, which know only /tmp/muacc. Default: off,
# but that path with a file in the original grammar.
compat_socket = "/tmp/muacc"

# A FIFO that takes run-time configuration strings for the policy, one a line,
# as the Socket Intents prototype had at /tmp/mam_config_fifo. Default: off.
compat_fifo = "/tmp/mam_config_fifo"

# Where policies are searched that are plugins and named without a directory.
# Default: lib/mam-policies below the installation prefix.
policy_path = ["/usr/local/lib/mam-policies"]

# Whether sockets are also bound to the chosen network's device
# (SO_BINDTODEVICE): "auto" where the routing tables would send the packets by
# another one, "always", or "never". Default: "auto".
bind_device = "auto"

# Who sees to the routes that make packets leave by the chosen network. "leave"
# changes nothing: where routes are missing, bind_device helps. "manage" gives each
# interface a table of its default routes, and source rules that lead to it, so
# that any program that binds an address gets the network it means; it takes
# CAP_NET_ADMIN. Rules and routes are marked with protocol 77, tables start at
# 7700, rules at priority 7700; all are removed at the end. Default: "leave".
routing = "leave"

# Destinations that stand for everywhere. Nothing is sent to them: the kernel is
# asked how it would reach them, and what most of them have in common is taken for
# the way to everywhere. Name some if yours has none of the usual ones, each family for itself.
# Default: 9 addresses each, spread over the address space.
far_away = ["9.9.9.9", "2620:fe::fe"]

# Where what must survive a restart is kept: how much of the budgets is used.
# Default: $STATE_DIRECTORY, else /var/lib/mamma for root, else
# $XDG_STATE_HOME/mamma or ~/.local/state/mamma.
state_dir = "/var/lib/mamma"

# Keep networks that are metered, expensive or beyond their budget for when no
# other is left, whatever the policy. Default: false.
avoid_metered = true

# How a network is asked whether it works.
probe {
  # "doubt": while connects fail or connections stall; "always": regularly; or
  # "never". Default: "doubt".
  when = "doubt"
  # "dns": the network's own name servers, if it has any, are asked for the root
  # servers. "tcp://192.0.2.1:443": a connection is opened and closed again.
  # "http://...": a page that must answer with status 204, to find portals that
  # want the user to log in. Names are resolved on the network. Default: "dns".
  target = "dns"
  # Time between two probes of a network. Default: "5s". Between "1s" and "1h".
  interval = "5s"
}

log {
  level  = "info" # "debug", "info", "warn" or "error". Default: "info"
  format = "text" # "text" or "json". Default: "text"
}

sampling {
  # Time between two measurements. Default: "100ms", as in the Socket Intents
  # prototype. Between "10ms", as a pass over many connections takes milliseconds,
  # and "10s", as rates are also averaged over windows of that length.
  interval = "100ms"
}

# The measurement logs of the Socket Intents prototype, as comma-separated lines.
# Default: off.
logs {
  prefixes   = "/tmp/metrics_prefix.log"
  interfaces = "/tmp/metrics_interface.log"
}

metrics {
  # Serve Prometheus metrics over TCP, besides the control socket. An address
  # with port. Default: off.
  listen = "127.0.0.1:9477"
}

decisions {
  # How many past decisions are kept for "mammactl decisions". Default: 1024.
  # From 0 to 100000, as each takes some hundred bytes.
  keep = 1024

  # Record decisions to this file together with what the policy saw, for
  # "mammactl replay". Hosts and programs are in it: only its owner can read it.
  # Default: off.
  record = "/var/log/mamma/decisions.jsonl"

  # How large the file may become, together with an older part of it whose name
  # ends with ".1". Default: "64MB", some ten thousand decisions. At least "1MB".
  record_max = "64MB"
}

mptcp {
  # Who opens the subflows of Multipath TCP connections. "kernel": the kernel, on
  # every connection of the host, by an endpoint for each managed network that
  # the policy wants used; endpoints of others are left alone. The policy is asked
  # about all connections at once: it cannot veto the subflows of a single one.
  # "userspace": mamma, as the policy says for each connection; this switches the
  # kernel's own path manager off (net.mptcp.path_manager) for new connections
  # while mamma runs. "off": not mamma. What is set up in the kernel is noted in
  # state_dir, so that the next run takes it back if this one is killed. Both need
  # CAP_NET_ADMIN, and "userspace" Linux 5.19. Default: "off".
  path_manager = "kernel"
}

# The policy: a name that is compiled in, a plugin's name in the policy path, or
# a plugin's path. At most one block. Without one, auto uses "threshold"; otherwise
# requests are answered without a suggestion.
policy "threshold" {
  # Settings are the policy's own; its README lists them.
  logfile = "/var/log/mamma/threshold.csv"
}

# A block about the local prefixes that lie inside a network, or that hold its
# address. prefix "192.0.2.23" {} is about the one prefix that holds that
# address, whatever its length. A longer prefix counts over a shorter one,
# setting by setting.
prefix "192.0.2.0/24" {
  # Whether it may be used. Default: true, as it is named here.
  enabled = true
  # Whether it is used where nothing speaks for another one. Default: false;
  # with auto, the network of the preferred default route.
  default = true
  # What traffic costs: "free", "metered" or "expensive". Default: "free".
  cost = "free"
  # How many bytes may be transferred over the interface in a month, down and up
  # together: an amount with unit kB, MB, GB, TB, or KiB, MiB, GiB, TiB. Beyond,
  # the network is expensive. Default: no limit.
  budget = "5GB"
  # The day on which the month begins, from 1 to 31; in shorter months the last
  # day. Default: 1.
  budget_reset = 1
  # Whether the name servers that systemd knows for the interface are asked where
  # none are given here. Default: true (false in files of
  # the Socket Intents prototype).
  link_dns = true
  # The name servers to ask on this network, with port if it is not 53.
  # Default: those of link_dns, and without any the host's own resolver.
  nameserver = ["192.0.2.1", "[2001:db8::53]:5353"]
  # A file with more of them, as resolv.conf(5). Default: none.
  resolvconf = "/run/mamma/resolv.conf"
  # The source address of queries. Default: the address in this prefix.
  dnsbindto = "192.0.2.23"
  # Settings for this network that the policy reads; see its README. With most
  # policies that is a figure to go by in place of what is measured, here in
  # milliseconds; policy "intents" reads  category = "query".
  options {
    srtt_minimum_recent = 20
  }
}

# The same settings by interface name, or by a pattern with *, ? and [...] as in
# path.Match of Go, for networks whose prefixes change. Prefix blocks count over
# these, a full name over a pattern, and a longer pattern over a shorter one.
interface "wwan*" {
  cost = "metered"
}
