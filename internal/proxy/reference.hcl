# Every setting of muacsocksd, with its default unless it says
# otherwise. Durations are written "250ms", "5 s", "1h30m" or "7d"; a
# number without a unit means seconds. Sizes in intents are written
# "300M", "1.5 GB" or "64KiB"; a number without a unit means bytes.

# Addresses and ports to serve. Only this host can reach these two.
listen = ["127.0.0.1:9050", "[::1]:9050"]

# The request socket of mamma. By default muacsocksd looks in the usual
# places.
# socket = "/run/mamma/mamma.sock"

# A file with names and passwords, a line NAME:HASH for each user;
# "muacsocksd --hash-password" makes a HASH. With this file everybody
# needs a password. SOCKS 4 has no passwords and is refused. Without the
# file, the name that a client gives is noted and not checked.
# users = "/etc/mamma/socks-users"

# The header in which HTTP clients state intents. The proxy does not
# pass it on.
header = "Socket-Intents"

# The name of this proxy in the header Via (RFC 9110) of plain HTTP
# messages. By default the proxy adds no such header.
# via = "proxy"

# Whether SOCKS clients that offer a name and a password are asked for
# them even if no password is needed: a name may carry intents. Some
# clients offer a name and have none. So these are not asked: tsocks and
# connect-proxy, if muacsocksd may look at the process; and for an hour
# any client that had none when it was asked. false: no client is asked.
ask_names = true

# Whether a well-known port (SSH, DNS, mail, ...) stands for intents if
# nothing else is known about a connection.
port_intents = true

# Whether muacsocksd looks for the local process behind each request, to
# name the process in the log and in "mammactl decisions". The search
# takes a tenth of a millisecond to some milliseconds, depending on how
# many processes and files the user has. Rules that name users or
# processes make muacsocksd search in any case.
identify = false

log {
  level  = "info"   # debug, info, warn or error
  format = "text"   # or json
  access = true     # a line for each request, at level info
}

# Prometheus metrics at http://ADDRESS/metrics. By default there are
# none.
metrics {
  # listen = "127.0.0.1:9478"
}

commands {
  udp  = true
  bind = false
}

limits {
  # Of all clients; fewer if limits of open files or memory are too low.
  connections = 10000
  # From one address; this host's own have no limit.
  per_client  = 1000
}

timeouts {
  handshake   = "10s"
  connect     = "30s"
  idle        = "124m"   # RFC 5382
  half_closed = "4m"
  udp         = "5m"     # RFC 4787
  drain       = "30s"    # for clients to finish at the proxy's end
}

# The proxy learns how much is transferred over connections to each host
# and port, and for how long. Where that is much the same each time, it
# becomes the intent of the next connection.
learning {
  enabled   = true
  hosts     = 4096
  half_life = "168h"
  # By default all of it is forgotten at the end.
  # file = "/var/lib/mamma/socks-learnt.json"
}

# Rules allow or deny. The first rule that matches decides. If none
# matches, clients on this host and clients with a password may connect
# everywhere, all others nowhere.
#
# Some addresses can be reached only if a rule names them: for clients
# on other hosts, this host's own addresses and those of its links; for
# everybody, broadcast and multicast addresses. 0.0.0.0/0 and ::/0 name
# no address in this sense.
#
# A rule may have these lists: client (networks), destination (networks,
# names or patterns), port (numbers or ranges), user (only with a
# password file, see users), and for local clients uid and process. In
# each list that the rule has, one entry must match. If the uid or the
# process cannot be found, a rule that allows does not apply, and a rule
# that denies does. To look at the processes of other users, muacsocksd
# needs CAP_SYS_PTRACE (proc(5)).
rule "no mail" {
  action = "deny"
  port   = [25, 465, 587]
}

rule "home" {
  action      = "allow"
  client      = ["192.0.2.0/24", "2001:db8::/32"]
  destination = ["*.example.org", "198.51.100.0/24"]
  port        = [443, "8000-8999"]
}

# Intents for the connections that match. A network matches only if the
# client asks for an address; names are not resolved for this. Intents
# that the client itself states come first.
intents "backup" {
  process = ["restic", "/usr/bin/borg"]
  uid     = 1000
  set     = "category=bulktransfer,timeliness=backgroundtraffic"
}

intents "video" {
  destination = ["*.video.example"]
  user        = ["tv"]
  set         = "category=stream,timeliness=streaming"
}
