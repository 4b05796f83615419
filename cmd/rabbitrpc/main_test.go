package main

import (
	"os"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// asCommand makes the test binary the command: the scripts run it, and it runs itself.
const asCommand = "RABBITRPC_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testbroker.Main(m)
}
