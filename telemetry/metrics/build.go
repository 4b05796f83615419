package metrics

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

const module = "github.com/rabbitrpc/rabbitrpc"

// BuildInfo makes a collector that says which version of this library a program was built with, and by which Go.
func BuildInfo() prometheus.Collector {
	version, revision := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version, revision = built(info)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rabbitrpc_build_info", Help: "1, labelled with what the program was built of.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// built returns the version of this module, and the revision if the program itself is of it.
func built(info *debug.BuildInfo) (version, revision string) {
	if info.Main.Path != module {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version, ""
			}
		}
		return "(unknown)", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return info.Main.Version, revision
}
