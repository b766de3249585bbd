#!/usr/bin/env bash
# curl 7.88.1, Chromium 156, Java 17 (Debian 12), Node.js 20, python3-requests 2.34.2, Go 1.26
#
# Expected: a POST that was sent over a kept connection, which then ends without an answer,
# is not sent again by the program: the server may have done what it asks (RFC 9110 section
# 9.2.2).
#
# Seen: curl, Chromium and Java's HttpURLConnection send it a second time over a new
# connection, and say nothing; the server here does it twice. Java's HttpClient, Go, Node
# and requests fail, so the caller decides. So whoever ends connections that are in use, as
# those of a network that died, makes some orders be placed twice.
#   curl: stored, the server got 2
#   Chromium: stored, the server got 2
#   HttpURLConnection: stored, the server got 2
#   HttpClient: IOException, the server got 1
#   Go: EOF, the server got 1
#   Node: UND_ERR_SOCKET, the server got 1
#   requests: ConnectionError, the server got 1
set -euo pipefail
dir=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
server=
case "$(chromium --version 2>/dev/null) $(node --version)" in
"Chromium 156."*" v20."*) ;;
*) echo "needs Chromium 156 and Node.js 20" >&2; exit 1 ;;
esac
cd "$dir"
cat > serve.py <<'PY'
# Counts POSTs. One that is not the first request of its connection is read, and then the
# connection is closed.
import http.server

page = b"""<script>(async () => {
  await (await fetch('/new')).text();
  try { document.title = await (await fetch('/order', {method: 'POST', body: 'x=1'})).text(); } catch (e) { document.title = e.name; }
})()</script>"""
posts = 0

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept = False

    def do_GET(self):
        global posts
        if self.path == "/new":
            posts = 0
        self.kept = True
        self.answer(page if self.path == "/page" else str(posts).encode())

    def do_POST(self):
        global posts
        posts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.kept:
            self.close_connection = True
        else:
            self.answer(b"stored")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
print(s.server_address[1], flush=True)
s.serve_forever()
PY
mkfifo port
python3 serve.py > port &
server=$!
read -r port < port
export URL=http://127.0.0.1:$port
cat > Try.java <<'JAVA'
import java.io.IOException;
import java.net.*;
import java.net.http.*;

class Try {
	public static void main(String[] args) throws Exception {
		URI first = new URI(System.getenv("URL") + "/new"), order = new URI(System.getenv("URL") + "/order");
		try {
			System.out.println(args[0].equals("old") ? old(first, order) : recent(first, order));
		} catch (IOException e) {
			System.out.println(e.getClass().getSimpleName());
		}
	}

	static String old(URI first, URI order) throws IOException {
		first.toURL().openStream().readAllBytes();
		HttpURLConnection c = (HttpURLConnection) order.toURL().openConnection();
		c.setDoOutput(true);
		c.getOutputStream().write("x=1".getBytes());
		return new String(c.getInputStream().readAllBytes());
	}

	static String recent(URI first, URI order) throws Exception {
		HttpClient c = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		HttpResponse.BodyHandler<String> text = HttpResponse.BodyHandlers.ofString();
		c.send(HttpRequest.newBuilder(first).build(), text);
		return c.send(HttpRequest.newBuilder(order).POST(HttpRequest.BodyPublishers.ofString("x=1")).build(), text).body();
	}
}
JAVA
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func main() {
	r, err := http.Get(os.Getenv("URL") + "/new")
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	r, err = http.Post(os.Getenv("URL")+"/order", "text/plain", strings.NewReader("x=1"))
	if e := (*url.Error)(nil); errors.As(err, &e) {
		fmt.Println(e.Err)
		return
	}
	b, _ := io.ReadAll(r.Body)
	fmt.Println(string(b))
}
GO
cat > try.js <<'JS'
(async () => {
  await (await fetch(process.env.URL + '/new')).text();
  await new Promise((done) => setImmediate(done)); // the connection is idle from here on
  try {
    console.log(await (await fetch(process.env.URL + '/order', {method: 'POST', body: 'x=1'})).text());
  } catch (e) {
    console.log(e.cause.code);
  }
})();
JS
cat > try.py <<'PY'
import os, requests
s = requests.Session()
s.get(os.environ["URL"] + "/new")
try:
    print(s.post(os.environ["URL"] + "/order", data="x=1").text)
except requests.exceptions.RequestException as e:
    print(type(e).__name__)
PY
go mod init finding >/dev/null 2>&1
go build -o try .
python3 -m venv --system-site-packages venv
venv/bin/pip install -q --disable-pip-version-check requests==2.34.2 >/dev/null
count() { echo "$1: $2, the server got $(curl -s "$URL/count")"; }
got=$(
	count curl "$(curl -s -o first "$URL/new" --next -s -d x=1 "$URL/order")"
	count Chromium "$(timeout 90 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$dir/profile" --virtual-time-budget=10000 --dump-dom "$URL/page" 2>/dev/null | sed -n 's/.*<title>\([^<]*\).*/\1/p')"
	count HttpURLConnection "$(java Try.java old)"
	count HttpClient "$(java Try.java recent)"
	count Go "$(./try)"
	count Node "$(node try.js)"
	count requests "$(venv/bin/python try.py)"
)
echo "$got"
test "$got" = "curl: stored, the server got 2
Chromium: stored, the server got 2
HttpURLConnection: stored, the server got 2
HttpClient: IOException, the server got 1
Go: EOF, the server got 1
Node: UND_ERR_SOCKET, the server got 1
requests: ConnectionError, the server got 1"
echo "as described"
