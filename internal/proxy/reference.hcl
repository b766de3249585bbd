# Every setting of muacsocksd, with its default unless it says otherwise.

# Addresses and ports to serve. Only this host can reach these two.
listen = ["127.0.0.1:9050", "[::1]:9050"]

# mamma's request socket. By default it is looked for where mamma usually has it.
# socket = "/run/mamma/mamma.sock"

# Names and passwords, a line NAME:HASH for each user; "muacsocksd --hash-password"
# makes a HASH. With it, everybody needs a password; SOCKS 4 has none and is
# refused. Without it, a name that a client gives is just noted.
# users = "/etc/mamma/socks-users"

# The header by which HTTP clients state intents. It is not passed on.
header = "Socket-Intents"

# The name by which plain HTTP messages tell of this proxy, in the header Via (RFC
# 9110). By default nothing is added to them.
# via = "proxy"

# Whether SOCKS clients that offer a name and a password are asked for them where
# none is needed, as names carry intents. Some offer them without having any: tsocks
# and connect-proxy, where muacsocksd may look at the process, and whoever had none
# when it was asked, for an hour, are not asked. false asks nobody.
ask_names = true

# Whether well-known ports (SSH, DNS, mail, ...) stand for intents where nothing
# else is known.
port_intents = true

# Whether the local process behind each request is looked for, for the log and
# for "mammactl decisions". It takes from a tenth of a millisecond to some, the
# more the more processes and files its user has. Rules that name users or
# processes look anyway.
identify = false

log {
  level  = "info"   # debug, info, warn or error
  format = "text"   # or json
  access = true     # a line for each request, at level info
}

# Prometheus metrics at http://ADDRESS/metrics. By default there are none.
metrics {
  # listen = "127.0.0.1:9478"
}

commands {
  udp  = true
  bind = false
}

limits {
  connections = 10000   # of clients; fewer if the limits of open files or memory are too low
  per_client  = 1000    # from one address; this host's own have no limit
}

timeouts {
  handshake   = "10s"
  connect     = "30s"
  idle        = "124m"   # RFC 5382
  half_closed = "4m"
  udp         = "5m"     # RFC 4787
  drain       = "30s"    # for clients to finish when the proxy is stopped
}

# How much is transferred over connections to each host and port, and for how
# long, is remembered: where it is much the same each time, it is an intent.
learning {
  enabled   = true
  hosts     = 4096
  half_life = "168h"
  # file = "/var/lib/mamma/socks-learnt.json"   # by default it is forgotten at the end
}

# Rules allow or deny; the first that matches counts. If none does, clients on
# this host and those with a password may connect everywhere, others nowhere.
# Clients elsewhere do not get at this host, by whichever of its addresses, nor at
# its links' own addresses, unless a rule names them; nobody sends to broadcast and
# multicast addresses unless a rule names them. 0.0.0.0/0 and ::/0 name nothing.
#
# Of each kind that is given, one entry must match: client (network), destination
# (network, name, or pattern), port (or range), user, uid and process (of a local
# client). Where the uid or the process cannot be found out, a rule that allows does
# not apply and one that denies does. To read processes of others, muacsocksd needs
# the right (CAP_SYS_PTRACE, proc(5)).
rule "no mail" {
  action = "deny"
  port   = ["25"]
}

rule "home" {
  action      = "allow"
  client      = ["192.0.2.0/24", "2001:db8::/32"]
  destination = ["*.example.org", "198.51.100.0/24"]
  port        = ["443", "8000-8999"]
}

# Intents for what matches. Networks match here where a client asks for an
# address, not for a name. What the client states itself counts before.
intents "backup" {
  process = ["restic", "/usr/bin/borg"]
  uid     = ["1000"]
  set     = "category=bulktransfer,timeliness=backgroundtraffic"
}

intents "video" {
  destination = ["*.video.example"]
  user        = ["tv"]
  set         = "category=stream,timeliness=streaming"
}
