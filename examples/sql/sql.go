// Package sql opens a database for database/sql over the network that the manager
// chooses.
package sql

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/socket-intents/mamma/client"
)

// Open makes a connection pool. d dials its connections, with d's intents.
func Open(d *client.Dialer, dsn string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.DialFunc = d.DialContext
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return stdlib.OpenDB(*config), nil
}
