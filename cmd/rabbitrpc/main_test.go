package main

import (
	"os"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// asCommand makes the test binary the command: the scripts run it, and it runs itself. It is no variable of a configuration.
const asCommand = "TEST_AS_RABBITRPC"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		kinds["slow"] = func() config.Kind { return new(slow) }
		main()
	}
	testbroker.Main(m)
}
