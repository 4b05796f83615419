package config

import _ "embed"

// Example is a configuration with all keys, most of them commented out, that can be served as it is.
//
//go:embed example.yaml
var Example string
