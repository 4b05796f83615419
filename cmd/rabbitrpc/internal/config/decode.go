package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// decode reads what a file, the environment and flags say at path into out, a pointer to a struct. What out has and they do
// not say stays.
func decode(path string, in map[string]any, out any) (errs []*KeyError) {
	var meta mapstructure.Metadata
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		TagName:          tag,
		Result:           out,
		Metadata:         &meta,
		WeaklyTypedInput: true, // the environment has text only
		MatchName:        func(key, field string) bool { return key == field },
		DecodeHook:       mapstructure.ComposeDecodeHookFunc(strict, mapstructure.StringToTimeDurationHookFunc()),
	})
	if err != nil {
		panic(err) // out is no pointer
	}
	for _, err := range all(d.Decode(in)) {
		e := &KeyError{Key: path, Problem: err.Error()}
		if at, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
			e.Key, e.Problem = join(path, dotted(at.Name())), problem(at)
		}
		errs = append(errs, e)
	}
	for _, key := range meta.Unused {
		key = dotted(key)
		last := key[strings.LastIndex(key, ".")+1:]
		errs = append(errs, &KeyError{Key: "unknown key " + join(path, key), Problem: suggest(last, known(reflect.TypeOf(out), key))})
	}
	return errs
}

// strict refuses what the decoder would take for something that it may not be meant as.
func strict(from, to reflect.Type, v any) (any, error) {
	scalar := from.Kind() != reflect.Map && from.Kind() != reflect.Slice
	switch {
	case to == durationType && from.Kind() != reflect.String && from != durationType:
		return nil, errors.New("want a time with its unit, such as 30s or 5m")
	case from.Kind() == reflect.Bool && to.Kind() != reflect.Bool && to.Kind() != reflect.Interface:
		return nil, errors.New("want " + wanted(to) + ", got a truth value; quotes make it text")
	case to.Kind() == reflect.Bool && from.Kind() != reflect.Bool && from.Kind() != reflect.String:
		return nil, errors.New("want true or false")
	case to.Kind() == reflect.Int && from.Kind() == reflect.Float64 && v.(float64) != float64(int64(v.(float64))):
		return nil, fmt.Errorf("want a whole number, got %v", v)
	case to.Kind() == reflect.Slice && scalar && from.Kind() != reflect.Interface:
		return nil, errors.New("want a list")
	}
	return v, nil
}

// all returns the errors that are joined in err.
func all(err error) (errs []error) {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			errs = append(errs, all(e)...)
		}
		return errs
	}
	if inner, ok := errors.Unwrap(err).(interface{ Unwrap() []error }); ok {
		return all(inner.(error))
	}
	return []error{err}
}

// problem says in words for an operator what a decoder could not read. It does not quote: the value may be a secret in the
// wrong place.
func problem(err error) string {
	if e, ok := errors.AsType[*mapstructure.ParseError](err); ok {
		return "want " + wanted(e.Expected.Type())
	}
	if e, ok := errors.AsType[*mapstructure.UnconvertibleTypeError](err); ok {
		return "want " + wanted(e.Expected.Type()) + ", got " + wanted(reflect.TypeOf(e.Value))
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	if strings.HasPrefix(err.Error(), "time: ") {
		return "want a time with its unit, such as 30s or 5m"
	}
	if strings.HasPrefix(err.Error(), "expected a map") {
		return "want keys and values below it"
	}
	return err.Error()
}

func wanted(t reflect.Type) string {
	if t == durationType {
		return "a time with its unit, such as 30s or 5m"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys and values below it"
	default:
		return "text"
	}
}

// index is a key of a map, and not of a list, as the decoder writes it.
var index = regexp.MustCompile(`\[([^\]]*[^\]0-9][^\]]*)\]`)

// dotted writes methods[resize] as methods.resize.
func dotted(key string) string { return index.ReplaceAllString(key, ".$1") }
