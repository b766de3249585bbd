#!/usr/bin/env bash
# github.com/jackc/pgx/v5 v5.13.0, Go 1.26
#
# Expected: pgx takes the connection strings of libpq. What it does not implement
# (hostaddr, keepalives_idle, tcp_user_timeout, which one sets for hosts with several
# networks) is ignored or refused when the string is parsed.
#
# Seen: it goes to the server as a run-time parameter. Parsing succeeds, and so does the
# connection as far as the network is concerned; then the server refuses each one, as it
# knows no parameter of that name. A service file that psql uses does not work, and not a
# word says that the address was looked up instead of taken.
#   host=db.test hostaddr=192.0.2.1: host db.test, sent to the server: hostaddr=192.0.2.1
#   host=db.test tcp_user_timeout=5000: host db.test, sent to the server: tcp_user_timeout=5000
#   host=db.test keepalives_idle=30: host db.test, sent to the server: keepalives_idle=30
#   host=db.test load_balance_hosts=random: host db.test, sent to the server: load_balance_hosts=random
#   host=db.test connect_timeout=5: host db.test, sent to the server: nothing
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5/pgconn@v5.13.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	os.Clearenv() // PGHOST and the like
	for _, setting := range []string{"hostaddr=192.0.2.1", "tcp_user_timeout=5000", "keepalives_idle=30", "load_balance_hosts=random", "connect_timeout=5"} {
		text := "host=db.test " + setting
		c, err := pgconn.ParseConfig(text + " user=u dbname=d sslmode=disable")
		if err != nil {
			fmt.Printf("%s: %v\n", text, err)
			continue
		}
		sent := "nothing"
		for name, value := range c.RuntimeParams {
			sent = name + "=" + value
		}
		fmt.Printf("%s: host %s, sent to the server: %s\n", text, c.Host, sent)
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'host=db.test hostaddr=192.0.2.1: host db.test, sent to the server: hostaddr=192.0.2.1
host=db.test tcp_user_timeout=5000: host db.test, sent to the server: tcp_user_timeout=5000
host=db.test keepalives_idle=30: host db.test, sent to the server: keepalives_idle=30
host=db.test load_balance_hosts=random: host db.test, sent to the server: load_balance_hosts=random
host=db.test connect_timeout=5: host db.test, sent to the server: nothing'
echo "as described"
