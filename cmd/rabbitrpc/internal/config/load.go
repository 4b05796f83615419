package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	pelletier "github.com/pelletier/go-toml/v2"
	yamlv3 "go.yaml.in/yaml/v3"
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

// ofServices begins the keys of flags that are for all services.
const ofServices = "services."

// Load reads a configuration and checks it. The error is [Errors], or that of reading the file.
func Load(in Input) (*Loaded, error) {
	l := &Loaded{Config: defaults(), sources: newSources(in.File), noServices: in.NoServices}
	k := koanf.New(".")
	errs, err := l.merge(k, in)
	if err != nil {
		return nil, err
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
	errs = append(errs, l.services(services, in)...)
	if len(errs) == 0 {
		errs = l.check()
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return l, nil
}

// merge lays flags over the environment over the file, but for the flags that are for services.
func (l *Loaded) merge(k *koanf.Koanf, in Input) (Errors, error) {
	file := make(map[string]any)
	if in.File != "" {
		var err error
		if file, err = readFile(in.File); err != nil {
			return nil, err
		}
		l.sources.add("", file, in.File)
	}
	environ, errs := environment(in.Environ)
	errs = append(errs, l.sources.of(sections(file))...)
	variables, flags := make(map[string]any), make(map[string]any)
	for key, v := range environ {
		variables[key] = v.value
		l.sources.by[key] = v.name
	}
	for key, value := range in.Flags {
		if !strings.HasPrefix(key, ofServices) {
			flags[key] = value
			l.sources.by[key] = flagOf(key)
		}
	}
	return errs, errors.Join(
		k.Load(confmap.Provider(file, ""), nil),
		k.Load(confmap.Provider(variables, "."), nil),
		k.Load(confmap.Provider(flags, "."), nil),
	)
}

// sections reports what is in the place of a section of a file, and takes it away: a variable below would hide it.
func sections(file map[string]any) (errs []*KeyError) {
	all := keys(reflect.TypeFor[Config]())
	for _, name := range slices.Sorted(maps.Keys(file)) {
		_, ok := file[name].(map[string]any)
		if section := all[name]; !ok && file[name] != nil && section != nil && section.Kind() == reflect.Struct {
			errs = append(errs, &KeyError{Key: name, Problem: "want " + wanted(section)})
			delete(file, name)
		}
	}
	return errs
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
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, unreadable(err))
	}
	if filepath.Ext(path) != ".toml" && documents(text) > 1 {
		return nil, fmt.Errorf("%s: has more than one document, and the first alone would be read", path)
	}
	return m, nil
}

// documents counts those of a text that is YAML, up to two.
func documents(text []byte) (n int) {
	d := yamlv3.NewDecoder(bytes.NewReader(text))
	for n < 2 && d.Decode(new(yamlv3.Node)) != io.EOF {
		n++
	}
	return n
}

// unreadable says in one line why a text is no YAML, and does not quote values as the parser does: they may be secrets.
func unreadable(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ") // it has several lines, if it is of several mistakes
	switch {
	case strings.Contains(text, "cannot unmarshal"):
		return "want keys and values, such as services and a list of them"
	case strings.Contains(text, "unknown anchor"):
		return "a value that begins with * must be in quotes"
	}
	return inBackticks.ReplaceAllString(text, "it")
}

var inBackticks = regexp.MustCompile("`[^`]*`")

// services reads the list of services, each with the section of its kind. Flags win over what it says.
func (l *Loaded) services(list any, in Input) (errs []error) {
	entries, ok := list.([]any)
	if list != nil && !ok {
		const problem = "want a list: each entry begins with a dash (YAML), or is a table [[services]] (TOML)"
		return l.sources.of([]*KeyError{{Key: "services", Problem: problem}})
	}
	for i, e := range entries {
		path := fmt.Sprintf("services[%d]", i)
		raw, ok := e.(map[string]any)
		if !ok {
			errs = append(errs, l.sources.of([]*KeyError{{Key: path, Problem: "want keys and values, such as name and kind"}})...)
			continue
		}
		raw = maps.Clone(raw)
		for key, value := range in.Flags {
			if own, ok := strings.CutPrefix(key, ofServices); ok {
				raw[own] = value
				l.sources.by[join(path, own)] = flagOf(key)
			}
		}
		s, bad := service(path, raw, in.Kinds)
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
		problem := "is missing; known are " + strings.Join(names, ", ")
		if kind != "" {
			problem = fmt.Sprintf("%q is no kind of service; %s", kind, suggest(kind, names))
		}
		return s, []*KeyError{{Key: path + ".kind", Problem: problem}}
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
