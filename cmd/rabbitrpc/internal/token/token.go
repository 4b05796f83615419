// Package token is what the listeners of this program have of bearer tokens, as in RFC 6750.
package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

const shortest = 16 // bytes

// Check reports a token that could be guessed. None at all, "", is no such token.
func Check(token string) error {
	if token != "" && len(token) < shortest {
		return fmt.Errorf("has a token of %d bytes: %d at least cannot be guessed", len(token), shortest)
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
