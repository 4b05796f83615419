package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
)

func TestURLShowsNoPassword(t *testing.T) {
	for in, want := range map[config.URL]string{
		"":                          "",
		"amqp://host":               "amqp://host",
		"amqp://me:s3cret@host:1/v": "amqp://***@host:1/v",
		"amqp://me:s3cr@et@host":    "amqp://***@host",
		"amqp://me:s3,cret@a , amqps://me:s3cret@b/v": "amqp://***@a,amqps://***@b/v",
		"postgres://me@host/db?password=s3cret":       "postgres://***@host/db?***",
		"host=a password=s3cret":                      "***",
	} {
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "url", in, "in", struct{ URL config.URL }{in})
		encoded, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := in.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for _, got := range []string{fmt.Sprintf("%v %s %#v %+v", in, in, in, struct{ URL config.URL }{in}), log.String(), string(encoded)} {
			if strings.Contains(got, "s3") {
				t.Errorf("shown: %s", got)
			}
		}
	}
}

// TestShowIsAConfiguration: what is shown can be read again, and means the same.
func TestShowIsAConfiguration(t *testing.T) {
	const text = `
broker: {url: 'amqp://me:topsecret@a,amqp://me:topsecret@b'}
services:
- {name: "true", kind: steps, pool: 3, queue: '123', methods: {go: {command: [a, '1', 'b c'], limit: 5s}}}
- {name: m, kind: math, workers: 0x10, dedupe: {store: postgres, url: 'postgres://me:topsecret@h/db'}}
`
	c, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	if err := c.Show(&shown); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), "topsecret") {
		t.Errorf("shown:\n%s", shown.String())
	}
	again, err := load(t, shown.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown.String())
	}
	for _, change := range c.Changes(&again.Config) {
		if change.Key != "broker.url" && change.Key != "services.m.dedupe.url" {
			t.Errorf("another value: %+v\n%s", change, shown.String())
		}
	}
}

// TestExample: it can be served as it is, and each line that is commented out as well, unless it is one of two ways.
func TestExample(t *testing.T) {
	c, err := load(t, config.Example)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 2 {
		t.Errorf("got %d services, want 2", len(c.Services))
	}
	said := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^[ #-]*([a-z_]+):`).FindAllStringSubmatch(config.Example, -1) {
		said[m[1]] = true
	}
	for _, key := range keysOf(reflect.TypeFor[config.Config]()) {
		if !said[key] {
			t.Errorf("the example says nothing of %s", key)
		}
	}
}

// TestExampleUncommented: what is commented out can be used as it stands, and its defaults are those of the program. Left out are keys of other stores, and of files that are not there.
func TestExampleUncommented(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^( *)# ( *)([a-z_]+:(?: .*)?)$`)
	elsewhere := regexp.MustCompile(`^(path|url|schema|connections|lease|retention|credentials_file|username|password_file|[a-z]+_file|tls|server_name):`)
	example, _, _ := strings.Cut(config.Example, "\n  # A program answers") // what follows are services of other kinds: see config.txtar
	text := commented.ReplaceAllStringFunc(example, func(line string) string {
		m := commented.FindStringSubmatch(line)
		if elsewhere.MatchString(m[3]) {
			return ""
		}
		return m[1] + m[2] + m[3]
	})
	c, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := load(t, config.Example)
	if err != nil {
		t.Fatal(err)
	}
	zero := map[string]bool{ // their defaults are those of server and store
		"services.math.limits.": true, "services.math.dedupe.": true,
	}
	examples := []string{"admin.listen", "tracing.endpoint", "services.math.queue", "services.math.queue_method", "services.math.reply_to", "services.math.user",
		"services.math.version"}
	for _, change := range plain.Changes(&c.Config) {
		section := change.Key[:strings.LastIndex(change.Key, ".")+1]
		if !zero[section] && !slices.Contains(examples, change.Key) {
			t.Errorf("the example says that the default of %s is %s, and it is %s", change.Key, change.To, change.From)
		}
	}
}

// keysOf returns the last parts of all keys of a struct.
func keysOf(t reflect.Type) (names []string) {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("koanf") != "-" {
			names = append(append(names, f.Tag.Get("koanf")), keysOf(f.Type)...)
		}
	}
	return names
}

func TestChanges(t *testing.T) {
	load := func(text string) *config.Config {
		c, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return &c.Config
	}
	before := load("broker: {url: 'amqp://a:topsecret@h'}\nservices: [{name: a, kind: math, workers: 1}, {name: b, kind: steps, methods: {go: {command: [x]}}}]")
	after := load("broker: {url: 'amqp://a:topsecret2@h'}\nlog: {level: warn}\nservices: [{name: b, kind: steps, methods: {go: {command: [y]}}}, {name: a, kind: math, workers: 2}]")
	got := fmt.Sprintf("%+v", before.Changes(after))
	want := "[{Key:broker.url Service: From:amqp://***@h To:amqp://***@h} {Key:log.level Service: From:info To:warn} " +
		"{Key:services.a.workers Service:a From:1 To:2} {Key:services.b.methods.go.command Service:b From:[x] To:[y]}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	one, two := load("services: [{name: a, kind: steps, methods: {go: {command: [x y]}}}]"), load("services: [{name: a, kind: steps, methods: {go: {command: [x, y]}}}]")
	if c := one.Changes(two); len(c) != 1 {
		t.Errorf("got %v, want the command", c)
	}
	if c := before.Changes(before); len(c) > 0 {
		t.Errorf("got %v, want none", c)
	}
}
