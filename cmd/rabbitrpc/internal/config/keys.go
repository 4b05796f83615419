package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

const tag = "koanf"

// own is the tag of a field whose keys stand beside the others, and not below one.
const own = "-"

// fields calls visit for each field of a struct that has the tag.
func fields(t reflect.Type, visit func(i int, key string)) {
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get(tag); key != "" {
			visit(i, key)
		}
	}
}

// keys returns the keys of a struct, with the types of their values.
func keys(t reflect.Type) map[string]reflect.Type {
	all := make(map[string]reflect.Type)
	fields(t, func(i int, key string) {
		if key != own {
			all[key] = t.Field(i).Type
		}
	})
	return all
}

// known returns the keys that may stand where path, as in methods.resize.comand, has its last one.
func known(t reflect.Type, path string) []string {
	for {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		key, rest, deeper := strings.Cut(path, ".")
		switch {
		case t.Kind() == reflect.Map:
			t = t.Elem()
		case t.Kind() != reflect.Struct:
			return nil
		case !deeper:
			return slices.Collect(maps.Keys(keys(t)))
		default:
			name, _, _ := strings.Cut(key, "[") // of a list
			t = keys(t)[name]
		}
		if path = rest; t == nil {
			return nil
		}
	}
}

// suggest returns the name that is meant by one that is not among them, or all of them if that is hard to tell.
func suggest(got string, names []string) string {
	if len(names) == 0 {
		return "there is no such key"
	}
	distance := func(name string) int { return levenshtein.ComputeDistance(strings.ToLower(got), strings.ToLower(name)) }
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(distance(a)-distance(b), strings.Compare(a, b)) })
	if best := names[0]; distance(best) <= max(1, len(best)/2) {
		return fmt.Sprintf("did you mean %s?", best)
	}
	slices.Sort(names)
	return "known are " + strings.Join(names, ", ")
}

// leaves calls visit for each value of a configuration, or of a part of it at path, in the order of the structs.
func leaves(path string, v reflect.Value, visit func(path string, v reflect.Value)) {
	switch v = target(v); {
	case v.Kind() == reflect.Struct:
		fields(v.Type(), func(i int, key string) {
			if key == own {
				leaves(path, v.Field(i), visit)
			} else {
				leaves(join(path, key), v.Field(i), visit)
			}
		})
	case v.Kind() == reflect.Map:
		for _, k := range sortedKeys(v) {
			leaves(join(path, k), v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())), visit)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			leaves(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	case v.IsValid():
		visit(path, v)
	}
}

// target is what pointers and interfaces lead to; the zero Value if that is nothing.
func target(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

func sortedKeys(m reflect.Value) (names []string) {
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }
