package config

import (
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/admin"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
)

// Token reads the token from the file that is named; it is empty if none is.
func (a *Admin) Token() (string, error) {
	if a.TokenFile == "" {
		return "", nil
	}
	return Secret("token_file", a.TokenFile)
}

func (a *Admin) check(c *checker) {
	secret, err := a.Token()
	if err != nil {
		c.err("admin", err)
		return
	}
	if a.Listen == "" {
		return
	}
	if err := token.Check(secret); err != nil {
		c.add("admin.token_file", "%s", err)
	}
	if err := admin.CheckAddr(a.Listen, secret != "" || a.Open); err != nil {
		c.add("admin.listen", "%s", err)
	}
}
