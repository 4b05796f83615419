package main

import (
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/echorpc"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
)

// kinds are the kinds of service that serve knows.
var kinds = config.Kinds{
	"echo": func() config.Kind { return new(echorpc.Kind) },
	"exec": func() config.Kind { return new(execrpc.Config) },
	"http": func() config.Kind { return new(httprpc.Config) },
	"math": func() config.Kind { return new(mathrpc.Kind) },
}
