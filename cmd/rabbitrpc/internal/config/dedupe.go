package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
)

// Dedupe is the memory of answered calls. What is 0 or empty keeps the store's default.
type Dedupe struct {
	Store       string        `koanf:"store"`
	Entries     int           `koanf:"entries"`
	Bytes       int           `koanf:"bytes"`
	MinAge      time.Duration `koanf:"min_age"`
	MaxAge      time.Duration `koanf:"max_age"`
	TenantShare float64       `koanf:"tenant_share"`
	Path        string        `koanf:"path"`
	URL         URL           `koanf:"url"`
	Schema      string        `koanf:"schema"`
	Connections int           `koanf:"connections"`
	Lease       time.Duration `koanf:"lease"`
	Retention   time.Duration `koanf:"retention"`
}

// The stores.
const (
	StoreNone     = "none"
	StoreLRU      = "lru"
	StoreBolt     = "bolt"
	StorePostgres = "postgres"
)

var storeNames = []string{StoreNone, StoreLRU, StoreBolt, StorePostgres}

// stores are the keys that each store has.
var stores = map[string][]string{
	StoreNone:     nil,
	StoreLRU:      {"entries", "bytes", "min_age", "max_age", "tenant_share"},
	StoreBolt:     {"entries", "bytes", "min_age", "max_age", "path"},
	StorePostgres: {"url", "schema", "connections", "lease", "retention"},
}

// LRU is what the store lru is made with.
func (d *Dedupe) LRU() (opts []idempotency.LRUOption) {
	opts = given(opts, d.Entries, idempotency.WithEntries)
	opts = given(opts, d.Bytes, idempotency.WithBytes)
	opts = given(opts, d.MinAge, idempotency.WithMinAge)
	opts = given(opts, d.MaxAge, idempotency.WithMaxAge)
	return given(opts, d.TenantShare, idempotency.WithTenantShare)
}

// Bolt is what the store bolt is opened with.
func (d *Dedupe) Bolt() (opts []bolt.Option) {
	opts = given(opts, d.Entries, bolt.WithEntries)
	opts = given(opts, int64(d.Bytes), bolt.WithBytes)
	opts = given(opts, d.MinAge, bolt.WithMinAge)
	return given(opts, d.MaxAge, bolt.WithMaxAge)
}

// Postgres is what the store postgres is opened with, but for its log.
func (d *Dedupe) Postgres() (opts []postgres.Option) {
	opts = given(opts, d.Schema, postgres.WithSchema)
	opts = given(opts, d.Connections, postgres.WithConnections)
	opts = given(opts, d.Lease, postgres.WithLease)
	return given(opts, d.Retention, postgres.WithRetention)
}

// given adds an option unless its value is zero.
func given[T comparable, O any](opts []O, value T, option func(T) O) []O {
	if value == *new(T) {
		return opts
	}
	return append(opts, option(value))
}

// check looks for keys that the store does not have, and for those that it needs; then it asks the store.
func (d *Dedupe) check(c *checker, path string) {
	own, known := stores[d.Store]
	if !known {
		c.oneOf(path+".store", d.Store, storeNames)
		return
	}
	leaves("", reflect.ValueOf(d), func(key string, v reflect.Value) {
		if key != "store" && !v.IsZero() && !slices.Contains(own, key) {
			of := slices.DeleteFunc(slices.Clone(storeNames), func(name string) bool { return !slices.Contains(stores[name], key) })
			c.add(join(path, key), "is for the store %s, and this is %s", strings.Join(of, " or "), d.Store)
		}
	})
	switch {
	case d.Store == StoreBolt && d.Path == "":
		c.add(path+".path", "is missing: the store bolt needs a file, such as /var/lib/rabbitrpc/calls.db")
	case d.Store == StorePostgres && d.URL == "":
		c.add(path+".url", "is missing: the store postgres needs one, such as postgres://user@host/database")
	case d.Store == StoreLRU:
		_, err := idempotency.NewLRU(d.LRU()...)
		c.err(path, err)
	case d.Store == StoreBolt:
		c.err(path, bolt.Check(d.Bolt()...))
	case d.Store == StorePostgres:
		c.err(path, postgres.Check(string(d.URL), d.Postgres()...))
	}
}
