package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// sources says where values come from.
type sources struct {
	file string
	by   map[string]string // key to a file, a variable or a flag; else it is a default
}

func newSources(file string) sources { return sources{file: file, by: make(map[string]string)} }

// add notes all that is said at path as coming from source.
func (s *sources) add(path string, said any, source string) {
	switch v := said.(type) {
	case map[string]any:
		for key, value := range v {
			s.add(join(path, key), value, source)
		}
	case []any:
		for i, value := range v {
			s.add(fmt.Sprintf("%s[%d]", path, i), value, source)
		}
	}
	s.by[path] = source
}

// of completes errors with the sources of what is wrong.
func (s *sources) of(errs []*KeyError) (complete []error) {
	for _, e := range errs {
		key := e.Key
		if strings.HasPrefix(key, "unknown key ") { // which a file alone can have, though it may look like that of a variable
			key = ""
		}
		for e.Source = s.by[key]; e.Source == "" && key != ""; e.Source = s.by[key] {
			key = key[:max(0, strings.LastIndexAny(key, ".["))]
		}
		switch e.Source {
		case "":
			e.Source = s.file
		case s.file:
		default:
			e.Key = "" // the name of the flag or variable says it
		}
		complete = append(complete, e)
	}
	return complete
}

// shown says where the value of a key comes from.
func (s *sources) shown(key string) string {
	switch source := s.by[key]; {
	case source == "":
		return "default"
	case source == s.file:
		return "file " + source
	case strings.HasPrefix(source, "--"):
		return "flag " + source
	default:
		return "environment " + source
	}
}

const prefix = "RABBITRPC_"

// FileVariable names the variable of the environment for the path of the file.
const FileVariable = prefix + "CONFIG"

// foreign are variables that Kubernetes sets in each pod beside a service that is called rabbitrpc, those of a call that a
// program answers, and the library's own.
var foreign = regexp.MustCompile(`^RABBITRPC_(DATAPLANE$|(PORT|SERVICE_HOST|SERVICE_PORT)(_|$)|(SERVICE|METHOD|CALL_ID|CALLER|USER|ATTEMPT|CONTENT_TYPE|TIMEOUT_MS)$)`)

type variable struct{ name, value string }

// environment returns what the environment says, by key, and an error for each variable that means nothing.
func environment(environ []string) (said map[string]variable, errs Errors) {
	meant := make(map[string]string) // variable to key
	c := defaults()                  // without services: only a file has lists
	leaves("", reflect.ValueOf(&c), func(key string, _ reflect.Value) { meant[variableOf(key)] = key })
	said = make(map[string]variable)
	values := make(map[string]string)
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
		switch key := meant[name]; {
		case value == "": // is as none
		case key != "":
			said[key] = variable{name, value}
		case strings.HasPrefix(name, prefix) && name != FileVariable && !foreign.MatchString(name):
			errs = append(errs, &KeyError{Key: "unknown variable " + name, Problem: suggestVariable(name, meant)})
		}
	}
	for _, name := range [...]string{"RABBITMQ_URL", "AMQP_URL"} { // as for all commands
		if said["broker.url"].value == "" && values[name] != "" {
			said["broker.url"] = variable{name, values[name]}
		}
	}
	return said, errs
}

func suggestVariable(name string, meant map[string]string) string {
	if strings.HasPrefix(name, variableOf("services")) {
		return "services are set in the file"
	}
	names := []string{FileVariable}
	for n := range meant {
		names = append(names, n)
	}
	return suggest(name, names)
}

func variableOf(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// flagOf names the flag for a key.
func flagOf(key string) string {
	switch key {
	case "broker.url":
		return "--url"
	case "log.level":
		return "--log-level"
	case "admin.listen":
		return "--admin"
	}
	_, name, _ := strings.Cut(key, ".") // of services or gateway
	return "--" + strings.ReplaceAll(name, "_", "-")
}
