package main

import (
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/echorpc"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
)

// kinds are the kinds of service that serve knows.
var kinds = config.Kinds{
	"echo": func() config.Kind { return new(echorpc.Kind) },
	"math": func() config.Kind { return new(mathrpc.Kind) },
}
