package main

import (
	"os"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// asCommand makes the test binary the command: the scripts run it, and it runs itself. It is no variable of a configuration.
const asCommand = "TEST_AS_RABBITRPC"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testbroker.Main(m)
}
