package client

import (
	"testing"

	"github.com/socket-intents/mamma/internal/daemontest"
)

func TestMain(m *testing.M) { daemontest.VerifyMain(m) }
