module example.net/ssh

go 1.26.0

require (
	github.com/socket-intents/mamma v0.0.0
	golang.org/x/crypto v0.59.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/socket-intents/mamma => ../..
