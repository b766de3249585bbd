package client

import (
	"testing"

	"github.com/socket-intents/mamma/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.VerifyMain(m) }
