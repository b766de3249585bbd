module example.net/websocket

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/socket-intents/mamma v0.0.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/socket-intents/mamma => ../..
