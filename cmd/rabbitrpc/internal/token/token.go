// Package token is what the listeners of this program have of bearer tokens, as in RFC 6750.
package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const shortest = 16 // bytes

// Check reports a token that could be guessed, or that no request can have. None at all, "", is no such token.
func Check(token string) error {
	switch {
	case token != "" && len(token) < shortest:
		return fmt.Errorf("has a token of %d bytes: %d at least cannot be guessed", len(token), shortest)
	case token != strings.TrimSpace(token) || !httpguts.ValidHeaderFieldValue(token):
		return errors.New("has a token with a space at an end, or a control character, which no request can have")
	}
	return nil
}

// Of returns the bearer token of a request, "" if it has none.
func Of(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// Same reports whether two tokens are the same, in a time that tells nothing of either, not even of its length.
func Same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)) // of one length
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
