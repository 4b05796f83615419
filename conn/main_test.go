package conn_test

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func TestMain(m *testing.M) { testbroker.Main(m) }
