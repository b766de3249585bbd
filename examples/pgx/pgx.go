// Package pgx connects to PostgreSQL over the network that the manager chooses.
package pgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/socket-intents/mamma/client"
)

// Connect connects to the database of a connection string. What ctx states of
// intents counts, and else those of d.
func Connect(ctx context.Context, d *client.Dialer, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.DialFunc = d.DialContext
	// pgx resolves the name itself before it dials, by the host's resolver. Handed on
	// as it is, the name is resolved on the network that the manager chooses.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return pgx.ConnectConfig(ctx, config)
}
