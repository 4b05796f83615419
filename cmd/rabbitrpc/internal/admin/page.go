package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
)

//go:embed page/page.html
var layout string

//go:embed page/page.css
var style string

//go:embed page/page.js
var script string

// page is the status page, in one piece that fetches nothing but its data.
var page = func() []byte {
	var b bytes.Buffer
	err := template.Must(template.New("page").Parse(layout)).Execute(&b, map[string]any{
		"Style": template.CSS(style), "Script": template.JS(script),
	})
	if err != nil {
		panic(err) // of what is embedded: any test finds it
	}
	return b.Bytes()
}()

// policy is what browsers let the page do: apply and run what is embedded, by hash, and ask where it came from.
var policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; img-src data:; style-src " +
	source(style) + "; script-src " + source(script)

func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	_, _ = w.Write(page) // who asked is gone
}

func (c *Config) statusJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.Status()) // the same
}
