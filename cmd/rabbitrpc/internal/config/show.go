package config

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var durationType = reflect.TypeFor[time.Duration]()

// Show writes the configuration as YAML, and behind each value where it comes from. Defaults that are zero, which mean none,
// are left out. Secrets are not shown.
func (l *Loaded) Show(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	l.show(root, "", reflect.ValueOf(&l.Config))
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return e.Close()
}

// show adds what is in v, a part of the configuration at path, to a node.
func (l *Loaded) show(to *yaml.Node, path string, v reflect.Value) {
	v = target(v)
	switch v.Kind() {
	case reflect.Struct:
		fields(v.Type(), func(i int, key string) {
			if key == own {
				l.show(to, path, v.Field(i))
			} else {
				l.entry(to, key, join(path, key), v.Field(i))
			}
		})
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			l.entry(to, k, join(path, k), v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())))
		}
	}
}

// entry adds a key with its value, unless there is nothing to show.
func (l *Loaded) entry(to *yaml.Node, name, path string, v reflect.Value) {
	value := &yaml.Node{Kind: yaml.MappingNode}
	switch v = target(v); {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		value.Kind = yaml.SequenceNode
		for i := range v.Len() {
			element := &yaml.Node{Kind: yaml.MappingNode}
			l.show(element, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			value.Content = append(value.Content, element)
		}
	case v.Kind() == reflect.Struct || v.Kind() == reflect.Map:
		l.show(value, path, v)
	default:
		if source := l.sources.by[path]; source != "" || !v.IsZero() {
			value = leaf(v)
			value.LineComment = strings.TrimSpace("# " + l.sources.shown(path))
		}
	}
	if value.Kind == yaml.ScalarNode || len(value.Content) > 0 {
		to.Content = append(to.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
	}
}

// leaf is a value as YAML.
func leaf(v reflect.Value) *yaml.Node {
	n := &yaml.Node{}
	if v.Kind() == reflect.Slice {
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		for i := range v.Len() {
			n.Content = append(n.Content, leaf(v.Index(i)))
		}
		return n
	}
	n.SetString(text(v))
	if v.Kind() != reflect.String && v.Type() != durationType {
		n.Tag, n.Style = "", 0 // a number
	}
	return n
}

// text is a value as it may be shown.
func text(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	if v.Kind() == reflect.Float64 {
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}
