package postgres_test

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
)

func TestMain(m *testing.M) { testbroker.Main(m, testpostgres.Close) }
