package report

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// browser starts a headless browser of its own, and skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no browser: scripts/install chromium")
		}
		t.Skip("no browser: scripts/install chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Env("TMPDIR=" + t.TempDir()), chromedp.NoFirstRun, chromedp.NoSandbox,
		chromedp.Headless, chromedp.DisableGPU,
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start browser: %v", err)
	}
	return ctx
}

// A reader is a page in the browser, with what must not happen in it.
type reader struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex // guards what follows
	fetched []string
	errors  []string
}

// open shows the report in a tab of its own.
func open(t *testing.T, ctx context.Context, file string, width int64, scheme string) *reader {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	r := &reader{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, r.note); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	address := url.URL{Scheme: "file", Path: file}
	r.run(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}),
		chromedp.EmulateViewport(width, 900), prefer(scheme), chromedp.Navigate(address.String()))
	return r
}

func (r *reader) note(event any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		r.fetched = append(r.fetched, e.Request.URL)
	case *runtime.EventExceptionThrown:
		r.errors = append(r.errors, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		r.errors = append(r.errors, "console."+string(e.Type))
	case *log.EventEntryAdded:
		r.errors = append(r.errors, e.Entry.Text)
	}
}

func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

func (r *reader) run(actions ...chromedp.Action[chromedp.Void]) {
	r.t.Helper()
	if err := chromedp.Do(r.ctx, actions...); err != nil {
		r.t.Fatalf("browser: %v", err)
	}
}

// js returns what an expression comes to.
func js[T any](r *reader, expression string) T {
	r.t.Helper()
	v, err := chromedp.Run(r.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		r.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// shot takes a picture of the whole page, if RABBITRPC_SCREENSHOTS names a directory for it.
func (r *reader) shot(name string) {
	r.t.Helper()
	dir := os.Getenv("RABBITRPC_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(r.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		r.t.Fatalf("take a picture: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func TestPage(t *testing.T) {
	ctx := browser(t)
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
			r := open(t, ctx, tt.file, tt.width, tt.scheme)
			if got := js[string](r, `byID("result").textContent`); got != tt.result {
				t.Errorf("result %q, want %q", got, tt.result)
			}
			if n := js[int](r, `document.querySelectorAll("#verdicts > li").length`); n != 10 {
				t.Errorf("%d verdicts, want 10", n)
			}
			if got := js[bool](r, `document.documentElement.scrollWidth <= innerWidth`); !got {
				t.Errorf("the page is %d wide", js[int](r, `document.documentElement.scrollWidth`))
			}
			r.shot(strings.ReplaceAll(tt.name, " ", "-"))
			drawn(r)
			searched(r)
			if tt.result == "broken" {
				followed(r)
			}
			if want := (&url.URL{Scheme: "file", Path: tt.file}).String(); !slices.Equal(r.fetched, []string{want}) {
				t.Errorf("fetched %q, want the page only", r.fetched)
			}
			if len(r.errors) > 0 {
				t.Errorf("errors in the console: %q", r.errors)
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
func drawn(r *reader) {
	r.t.Helper()
	// Of a copy, since a browser complains of pages that read what they draw.
	js[bool](r, `pixels = canvas => {
		const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
		copy.drawImage(canvas, 0, 0);
		return new Uint32Array(copy.getImageData(0, 0, canvas.width, Math.min(canvas.height, 200)).data.buffer);
	}, true`)
	const inked = `[...document.querySelectorAll(".chart canvas")].filter(c => new Set(pixels(c)).size > 4).length`
	if n := js[int](r, inked); n != 6 {
		r.t.Errorf("%d charts are drawn, want 6", n)
	}
	const sum = `pixels(view.shown[0].ctx.canvas).reduce((a, b) => (31 * a + b) % 1e9)`
	js[bool](r, `before = `+sum+`, true`)
	scheme := "dark"
	if js[bool](r, `matchMedia("(prefers-color-scheme: dark)").matches`) {
		scheme = "light"
	}
	r.run(prefer(scheme))
	const changed = `(async () => {
		for (let i = 0; i < 100 && ` + sum + ` === before; i++) await new Promise(done => setTimeout(done, 20));
		return ` + sum + ` !== before;
	})()`
	if !js[bool](r, changed) {
		r.t.Error("a change of the colour scheme does not reach the charts")
	}
	js[bool](r, `byID("outcomes").scrollIntoView({ block: "center", behavior: "instant" }), true`)
	at := js[[]float64](r, `(({ left, top, width, height }) => [left + width / 2, top + height / 2])(document.querySelector("#outcomes .u-over").getBoundingClientRect())`)
	r.run(chromedp.MouseEvent("mouseMoved", at[0], at[1]))
	const hovered = `(async () => {
		const value = () => document.querySelector("#outcomes .u-value").textContent;
		for (let i = 0; i < 100 && value() === "–"; i++) await new Promise(done => setTimeout(done, 20));
		return value();
	})()`
	if got := js[string](r, hovered); !strings.Contains(got, ":") {
		r.t.Errorf("time under the cursor is shown as %q", got)
	}
	js[bool](r, `zoom(20, 30), true`)
	if got := js[string](r, `byID("view").textContent`); got != "0:20.0 – 0:30.0" {
		r.t.Errorf("view %q after zooming in", got)
	}
}

// searched finds one call by its ID, and looks at it.
func searched(r *reader) {
	r.t.Helper()
	r.run(chromedp.SendKeys("#text", hurtID))
	if got := js[string](r, `byID("found").textContent`); got != "1 call" {
		r.t.Errorf("found %q, want 1 call", got)
	}
	r.run(chromedp.Click("#rows td.id button"))
	if got := js[string](r, `document.querySelector("#rows .more dd").textContent`); !strings.Contains(got, "</script>") {
		r.t.Errorf("error of the call is shown as %q", got)
	}
	r.run(chromedp.Click("#filters button[type=reset]"))
	n := js[int](r, `new Promise(done => setTimeout(() => done(document.querySelectorAll("#rows tr").length), 50))`)
	if n != 200 {
		r.t.Errorf("%d rows after clearing the search, want 200", n)
	}
}

// followed goes from evidence to the call that it names.
func followed(r *reader) {
	r.t.Helper()
	id := js[string](r, `(b => (b.closest("details").open = true, b.click(), b.textContent))(document.querySelector(".evidence button"))`)
	if got := js[[]string](r, `[...document.querySelectorAll("#rows td.id")].map(e => e.textContent)`); len(got) == 0 || got[0] != id {
		r.t.Errorf("evidence names %q, and leads to %q", id, got)
	}
}
