package config

import (
	"testing"
	"time"
)

// TestTakeOver: what is in force of another configuration while the process runs, and from when on.
func TestTakeOver(t *testing.T) {
	reachable := defaults()
	reachable.Gateway.Listen, reachable.Gateway.Token = "0.0.0.0:1", "0123456789abcdef"
	for _, tt := range []struct {
		name   string
		from   Config
		change func(*Config)
		want   map[string]string
		after  func(*Config) bool
	}{
		{
			"level", defaults(), func(c *Config) { c.Log.Level, c.Log.Format = "debug", FormatJSON },
			map[string]string{"log.level": "now", "log.format": ""},
			func(c *Config) bool { return c.Log.Level == "debug" && c.Log.Format == FormatAuto },
		},
		{
			"login", defaults(), func(c *Config) { c.Broker.Name, c.Broker.CredentialsFile, c.Broker.TLS.ServerName = "n", "f", "a" },
			map[string]string{
				"broker.name": "", "broker.credentials_file": "with the next connection", "broker.tls.server_name": "with the next connection",
			},
			func(c *Config) bool { return c.Broker.CredentialsFile == "f" && c.Broker.TLS.ServerName == "a" },
		},
		{
			"login at another broker: the next connection is with the old one", defaults(),
			func(c *Config) {
				c.Broker.URL, c.Broker.CredentialsFile, c.Broker.TLS.CAFile = "amqps://elsewhere", "f", "a"
			},
			map[string]string{"broker.url": "", "broker.credentials_file": "", "broker.tls.ca_file": ""},
			func(c *Config) bool { return c.Broker == defaults().Broker },
		},
		{
			"timeouts beyond what was the longest", defaults(),
			func(c *Config) {
				c.Gateway.Timeout, c.Gateway.MaxTimeout, c.Gateway.MaxBody = time.Hour, 2*time.Hour, 1
			},
			map[string]string{"gateway.timeout": "now", "gateway.max_timeout": "now", "gateway.max_body": ""},
			func(c *Config) bool { return c.Gateway.Timeout == time.Hour && c.Gateway.MaxBody > 1 },
		},
		{
			"no token any more, on an address that others can reach until a restart", reachable,
			func(c *Config) { c.Gateway.Listen, c.Gateway.Token = "127.0.0.1:1", "" },
			map[string]string{"gateway.listen": "", "gateway.token": ""},
			func(c *Config) bool { return c.Gateway.Token != "" },
		},
		{
			"no token any more, open until a restart", reachable,
			func(c *Config) { c.Gateway.Open, c.Gateway.Token = true, "" },
			map[string]string{"gateway.open": "", "gateway.token": ""},
			func(c *Config) bool { return c.Gateway.Token != "" },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, next := tt.from, tt.from
			tt.change(&next)
			for _, change := range c.Changes(&next) {
				want, expected := tt.want[change.Key]
				if got := c.TakeOver(change, &next); got != want || !expected {
					t.Errorf("%s: got %q, want %q", change.Key, got, want)
				}
				delete(tt.want, change.Key)
			}
			if len(tt.want) > 0 || !tt.after(&c) {
				t.Errorf("left %v, got %+v", tt.want, c)
			}
		})
	}
}
