package report

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/internal/testbrowser"
)

func TestPage(t *testing.T) {
	browser := testbrowser.Start(t)
	broken, good := filepath.Join(t.TempDir(), "broken.html"), filepath.Join(t.TempDir(), "good.html")
	length := time.Minute
	if os.Getenv("RABBITRPC_SCREENSHOTS") != "" {
		length = 5 * time.Minute // for people
	}
	h := hurt(synthetic(42, 64, length))
	writePage(t, broken, h, verdicts(h, false))
	h = hurt(synthetic(43, 16, length))
	writePage(t, good, h, verdicts(h, true))

	for _, tt := range []struct {
		name, file, scheme, result string
		width                      int64
	}{
		{"wide light", broken, "light", "broken", 1400},
		{"wide dark", good, "dark", "passed", 1400},
		{"narrow light", good, "light", "passed", 360},
		{"narrow dark", broken, "dark", "broken", 360},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := (&url.URL{Scheme: "file", Path: tt.file}).String()
			r := testbrowser.Open(t, browser, address, tt.width, tt.scheme)
			if got := testbrowser.JS[string](r, `byID("result").textContent`); got != tt.result {
				t.Errorf("result %q, want %q", got, tt.result)
			}
			if n := testbrowser.JS[int](r, `document.querySelectorAll("#verdicts > li").length`); n != 10 {
				t.Errorf("%d verdicts, want 10", n)
			}
			if got := testbrowser.JS[bool](r, `document.documentElement.scrollWidth <= innerWidth`); !got {
				t.Errorf("the page is %d wide", testbrowser.JS[int](r, `document.documentElement.scrollWidth`))
			}
			r.Shot(strings.ReplaceAll(tt.name, " ", "-"))
			drawn(t, r)
			searched(t, r)
			if tt.result == "broken" {
				followed(t, r)
			}
			if got := r.Fetched(); !slices.Equal(got, []string{address}) {
				t.Errorf("fetched %q, want the page only", got)
			}
			if got := r.Errors(); len(got) > 0 {
				t.Errorf("errors in the console: %q", got)
			}
		})
	}
}

const hurtID = "hurt-<b>"

// hurt adds a call with an error that would do harm in a page that takes text for anything else.
func hurt(h *history.History) *history.History {
	c := &h.Calls[len(h.Calls)/2]
	c.ID, c.Error, c.Outcome = hurtID, hostile, history.Ambiguous
	return h
}

// drawn looks at the charts: that there is something in their plots, and that they change with the scheme.
func drawn(t *testing.T, r *testbrowser.Tab) {
	t.Helper()
	// Of a copy, since a browser complains of pages that read what they draw.
	testbrowser.JS[bool](r, `pixels = canvas => {
		const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
		copy.drawImage(canvas, 0, 0);
		return new Uint32Array(copy.getImageData(0, 0, canvas.width, Math.min(canvas.height, 200)).data.buffer);
	}, true`)
	const inked = `[...document.querySelectorAll(".chart canvas")].filter(c => new Set(pixels(c)).size > 4).length`
	if n := testbrowser.JS[int](r, inked); n != 6 {
		t.Errorf("%d charts are drawn, want 6", n)
	}
	const sum = `pixels(view.shown[0].ctx.canvas).reduce((a, b) => (31 * a + b) % 1e9)`
	testbrowser.JS[bool](r, `before = `+sum+`, true`)
	scheme := "dark"
	if testbrowser.JS[bool](r, `matchMedia("(prefers-color-scheme: dark)").matches`) {
		scheme = "light"
	}
	r.Prefer(scheme)
	const changed = `(async () => {
		for (let i = 0; i < 100 && ` + sum + ` === before; i++) await new Promise(done => setTimeout(done, 20));
		return ` + sum + ` !== before;
	})()`
	if !testbrowser.JS[bool](r, changed) {
		t.Error("a change of the colour scheme does not reach the charts")
	}
	testbrowser.JS[bool](r, `byID("outcomes").scrollIntoView({ block: "center", behavior: "instant" }), true`)
	at := testbrowser.JS[[]float64](r, `(({ left, top, width, height }) => [left + width / 2, top + height / 2])(document.querySelector("#outcomes .u-over").getBoundingClientRect())`)
	r.Do(chromedp.MouseEvent("mouseMoved", at[0], at[1]))
	const hovered = `(async () => {
		const value = () => document.querySelector("#outcomes .u-value").textContent;
		for (let i = 0; i < 100 && value() === "–"; i++) await new Promise(done => setTimeout(done, 20));
		return value();
	})()`
	if got := testbrowser.JS[string](r, hovered); !strings.Contains(got, ":") {
		t.Errorf("time under the cursor is shown as %q", got)
	}
	testbrowser.JS[bool](r, `zoom(20, 30), true`)
	if got := testbrowser.JS[string](r, `byID("view").textContent`); got != "0:20.0 – 0:30.0" {
		t.Errorf("view %q after zooming in", got)
	}
}

// searched finds one call by its ID, and looks at it.
func searched(t *testing.T, r *testbrowser.Tab) {
	t.Helper()
	r.Do(chromedp.SendKeys("#text", hurtID))
	if got := testbrowser.JS[string](r, `byID("found").textContent`); got != "1 call" {
		t.Errorf("found %q, want 1 call", got)
	}
	r.Do(chromedp.Click("#rows td.id button"))
	if got := testbrowser.JS[string](r, `document.querySelector("#rows .more dd").textContent`); !strings.Contains(got, "</script>") {
		t.Errorf("error of the call is shown as %q", got)
	}
	r.Do(chromedp.Click("#filters button[type=reset]"))
	n := testbrowser.JS[int](r, `new Promise(done => setTimeout(() => done(document.querySelectorAll("#rows tr").length), 50))`)
	if n != 200 {
		t.Errorf("%d rows after clearing the search, want 200", n)
	}
}

// followed goes from evidence to the call that it names.
func followed(t *testing.T, r *testbrowser.Tab) {
	t.Helper()
	id := testbrowser.JS[string](r, `(b => (b.closest("details").open = true, b.click(), b.textContent))(document.querySelector(".evidence button"))`)
	if got := testbrowser.JS[[]string](r, `[...document.querySelectorAll("#rows td.id")].map(e => e.textContent)`); len(got) == 0 || got[0] != id {
		t.Errorf("evidence names %q, and leads to %q", id, got)
	}
}
