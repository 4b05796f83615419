// Package imports holds the rule of what may import what: downwards only, never sideways.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rabbitrpc/rabbitrpc/"

// allowed says what of this module each package may import. A package that is not named may import nothing of it.
var allowed = map[string][]string{
	"rpc":                       {"internal/contextkey"},
	"conn":                      {"conn/internal/frame"},
	"conn/internal/frame":       nil,
	"conn/conntest":             {"conn"},
	"conn/conntest/conformance": {"conn"},
	"internal/wire":             {"rpc", "conn"},
	"internal/contextkey":       nil,
	"internal/deadline":         nil,
	"internal/failpoint":        nil,
	"idempotency":               {"rpc", "internal/failpoint"},
	"idempotency/bolt":          {"rpc", "internal/failpoint", "idempotency"},
	"idempotency/postgres":      {"rpc", "internal/failpoint", "idempotency"},
	"idempotency/storetest":     {"rpc", "idempotency", "internal/failpoint"},
	"client":                    {"rpc", "conn", "internal/deadline", "internal/wire"},
	"server":                    {"rpc", "conn", "internal/contextkey", "internal/deadline", "internal/wire", "internal/failpoint", "idempotency"},
	"telemetry/metrics":         {"rpc", "conn", "client", "server", "idempotency", "internal/wire", "telemetry/internal/table"},
	"telemetry/tracing":         {"rpc", "client", "internal/wire", "telemetry/internal/table"},
	"telemetry/internal/table":  nil,
	"chaos":                     {"conn"},
	"chaos/history":             nil,
	"chaos/check":               {"chaos/history"},
	"chaos/report":              {"chaos/history", "chaos/check"},
	"chaos/bank":                {"rpc", "conn", "server", "idempotency", "idempotency/bolt", "idempotency/postgres", "internal/failpoint"},
	"chaos/scenario":            {"rpc", "conn", "client", "chaos", "chaos/bank", "chaos/check", "chaos/history"},
	"internal/mutant":           nil,
	"internal/simulation":       nil, // its tests: all
	"internal/testbroker":       {"chaos"},
	"internal/testcert":         nil,
	"internal/testpostgres":     {"chaos"},
}

// Only these may know the AMQP library: no type of it is in the signatures of any other.
var amqp = []string{"conn", "cmd/rabbitrpc/internal/rawloop"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := allowed[name]
		if known {
			seen++
		}
		command := strings.HasPrefix(name, "cmd/")
		for _, i := range p.Imports {
			own, ours := strings.CutPrefix(i, module)
			switch {
			case i == "github.com/rabbitmq/amqp091-go" && !slices.Contains(amqp, name):
				t.Errorf("%s imports %s: only %v may", name, i, amqp)
			case ours && !command && !slices.Contains(may, own):
				t.Errorf("%s imports %s: it may import %v of this module", name, own, may)
			case ours && strings.HasPrefix(own, "cmd/") && !command:
				t.Errorf("%s imports %s: nothing imports a command", name, own)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d of the %d packages in the rule were found: is one gone?", seen, len(allowed))
	}
}
