package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	pelletier "github.com/pelletier/go-toml/v2"
)

// Input is what a configuration is made of.
type Input struct {
	File    string            // its path, ending in .yaml, .yml or .toml; may be empty: then the service math is served
	Environ []string          // as of os.Environ
	Flags   map[string]string // the values of those that were given, by key; services.KEY is for all services
	Kinds   Kinds

	// NoServices leaves them out, for who serves none.
	NoServices bool
}

// Loaded is a configuration, and where it comes from.
type Loaded struct {
	Config
	sources    sources
	noServices bool
}

const maxFile = 1 << 20

// Load reads a configuration and checks it. The error is [Errors], or that of reading the file.
func Load(in Input) (*Loaded, error) {
	k := koanf.New(".")
	l := &Loaded{Config: defaults(), sources: sources{file: in.File}, noServices: in.NoServices}
	var errs Errors
	if in.File != "" {
		file, err := readFile(in.File)
		if err != nil {
			return nil, err
		}
		l.sources.add("", file, in.File)
		if err := k.Load(confmap.Provider(file, ""), nil); err != nil {
			return nil, fmt.Errorf("%s: %w", in.File, err)
		}
	}
	environ, strangers := environment(in.Environ)
	errs = append(errs, strangers...)
	all, global := make(map[string]string), make(map[string]string) // flags for all services, and the others
	for key, value := range in.Flags {
		if of, ok := strings.CutPrefix(key, "services."); ok {
			all[of] = value
		} else {
			global[key] = value
		}
	}
	for key, v := range environ {
		l.sources.set(key, v.name)
		k.Set(key, v.value) //nolint:errcheck // of a strict merge, which it is not
	}
	for key, value := range global {
		l.sources.set(key, flagOf(key))
		k.Set(key, value) //nolint:errcheck // as above
	}
	services := k.Get("services")
	k.Delete("services")
	errs = append(errs, l.sources.of(decode("", k.Raw(), &l.Config))...)
	switch {
	case in.NoServices:
		services = nil
	case services == nil && in.File == "":
		services = []any{map[string]any{"name": "math", "kind": "math"}}
	}
	errs = append(errs, l.services(services, all, in.Kinds)...)
	if len(errs) == 0 {
		errs = l.check()
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return l, nil
}

// readFile reads a file by its ending.
func readFile(path string) (map[string]any, error) {
	var parser koanf.Parser
	switch filepath.Ext(path) {
	case ".yaml", ".yml":
		parser = yaml.Parser()
	case ".toml":
		parser = toml.Parser()
	default:
		return nil, fmt.Errorf("%s: a configuration file must end in .yaml, .yml or .toml", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: a configuration must be a file of at most %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	m, err := parser.Unmarshal(text)
	if e, ok := errors.AsType[*pelletier.DecodeError](err); ok {
		row, _ := e.Position()
		return nil, fmt.Errorf("%s: line %d: %w", path, row, err)
	}
	if err != nil { // of several lines, if it is of several mistakes
		return nil, fmt.Errorf("%s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	return m, nil
}

// services reads the list of services, each with the section of its kind. Flags win over what it says.
func (l *Loaded) services(list any, flags map[string]string, kinds Kinds) (errs []error) {
	entries, ok := list.([]any)
	if list != nil && !ok {
		return l.sources.of([]*KeyError{{Key: "services", Problem: "want a list: each entry begins with a dash (YAML), or is a table [[services]] (TOML)"}})
	}
	for i, e := range entries {
		path := fmt.Sprintf("services[%d]", i)
		raw, ok := e.(map[string]any)
		if !ok {
			errs = append(errs, l.sources.of([]*KeyError{{Key: path, Problem: "want keys and values, such as name and kind"}})...)
			continue
		}
		raw = maps.Clone(raw)
		for key, value := range flags {
			raw[key] = value
			l.sources.set(path+"."+key, flagOf("services."+key))
		}
		s, bad := service(path, raw, kinds)
		errs = append(errs, l.sources.of(bad)...)
		l.Services = append(l.Services, s)
	}
	return errs
}

// service reads one service. A key that is of all services belongs to it, any other one to its kind.
func service(path string, raw map[string]any, kinds Kinds) (Service, []*KeyError) {
	s := defaultService()
	kind, _ := raw["kind"].(string)
	common := keys(reflect.TypeFor[Service]())
	if kinds[kind] == nil {
		names := slices.Sorted(maps.Keys(kinds))
		if kind == "" {
			return s, []*KeyError{{Key: path + ".kind", Problem: "is missing; known are " + strings.Join(names, ", ")}}
		}
		return s, []*KeyError{{Key: path + ".kind", Problem: fmt.Sprintf("%q is no kind of service; %s", kind, suggest(kind, names))}}
	}
	s.Own = kinds[kind]()
	section := keys(reflect.TypeOf(s.Own).Elem())
	own := make(map[string]any)
	for key := range section {
		if v, ok := raw[key]; ok && common[key] == nil {
			own[key] = v
			delete(raw, key)
		}
	}
	errs := decode(path, own, s.Own)
	for _, e := range decode(path, raw, &s) {
		if key, ok := strings.CutPrefix(e.Key, "unknown key "+path+"."); ok && !strings.Contains(key, ".") {
			names := append(slices.Collect(maps.Keys(common)), slices.Collect(maps.Keys(section))...)
			e.Problem = suggest(key, names)
		}
		errs = append(errs, e)
	}
	return s, errs
}
