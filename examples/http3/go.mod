module example.net/http3

go 1.26.0

require (
	github.com/quic-go/quic-go v0.65.0
	github.com/socket-intents/mamma v0.0.0-00010101000000-000000000000
	github.com/socket-intents/mamma/quicintent v0.0.0-00010101000000-000000000000
)

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace (
	github.com/socket-intents/mamma => ../..
	github.com/socket-intents/mamma/quicintent => ../../quicintent
)
