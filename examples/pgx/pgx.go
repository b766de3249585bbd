// Package pgx connects to PostgreSQL over the network that the manager chooses.
package pgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/socket-intents/mamma/client"
)

// Connect connects to the database of a connection string. Intents in ctx take
// precedence over those of d.
func Connect(ctx context.Context, d *client.Dialer, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.DialFunc = d.DialContext
	// By default pgx resolves the name with the host's resolver before it dials. This
	// function returns the name unchanged, so that it is resolved on the network that
	// the manager chooses.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return pgx.ConnectConfig(ctx, config)
}
