#!/usr/bin/env bash
# Linux (seen with 6.18), TCP_INFO, python3
#
# Expected: tcpi_bytes_acked and tcpi_bytes_received count a connection's data, as
# tcpi_bytes_sent does. What was sent and is not acknowledged yet is tcpi_bytes_sent -
# tcpi_bytes_acked.
#
# Seen: SYN and FIN are counted as one octet each: a client has one octet acknowledged
# before it sends anything, and the server none; who has been sent a FIN has received one
# octet more than there was data. The difference in unsigned numbers is 2^64-1, not 0.
#   connected: client sent 0 acked 1 received 0, server sent 0 acked 0 received 0
#   5 to the server, 3 back: client sent 5 acked 6 received 3, server sent 3 acked 3 received 5
#   client is done: client sent 5 acked 7 received 3, server sent 3 acked 3 received 6
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import socket, struct
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()

def figures(s):
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    acked, received = struct.unpack_from("QQ", info, 120)
    sent, = struct.unpack_from("Q", info, 200)
    return sent, acked, received

def tell(name, settled):
    while not settled(): # the last acknowledgement takes a moment
        pass
    print(f"{name}: " + ", ".join("%s sent %d acked %d received %d" % (n, *figures(s)) for n, s in (("client", client), ("server", server))))

tell("connected", lambda: True)
client.sendall(b"hello")
server.recv(9)
server.sendall(b"yes")
client.recv(9)
tell("5 to the server, 3 back", lambda: figures(client)[1] >= 5 and figures(server)[1] >= 3)
client.shutdown(socket.SHUT_WR)
server.recv(1)
tell("client is done", lambda: figures(client)[1] >= 7)
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link set lo up
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'connected: client sent 0 acked 1 received 0, server sent 0 acked 0 received 0
5 to the server, 3 back: client sent 5 acked 6 received 3, server sent 3 acked 3 received 5
client is done: client sent 5 acked 7 received 3, server sent 3 acked 3 received 6'
echo "as described"
