module example.net/ports

go 1.26.0

require github.com/socket-intents/mamma v0.0.0
