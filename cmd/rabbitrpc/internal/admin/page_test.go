package admin

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
	"github.com/rabbitrpc/rabbitrpc/internal/testbrowser"
)

const hostile = `</script><img src=x onerror="document.title='owned'"> \u202e`

// A fake is a process whose status a test sets.
type fake struct {
	mu     sync.Mutex // guards status
	status status.Status
}

func (f *fake) get() status.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fake) change(how func(*status.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(&f.status)
}

func (f *fake) config(addr string) Config {
	return Config{Addr: addr, Status: f.get, Checks: func() []status.Check { return f.get().Checks }, Metrics: prometheus.NewRegistry()}
}

func trend(values ...uint64) (all []uint64) {
	for i := range 29 {
		all = append(all, values[i%len(values)])
	}
	return all
}

// busy is a process that has a bit of everything.
func busy() status.Status {
	fib := status.Traffic{Rate: 1184.4, Errors: 0.31, P50: 0.00042, P90: 0.0011, P99: 0.0187, History: trend(2400, 2310, 2390, 2500, 2280, 1800, 2405)}
	all := fib
	all.Rate = 1196.7
	return status.Status{
		Name: "rabbitrpc serve", Ready: true,
		Checks: []status.Check{
			{Name: "broker", OK: true, For: 7384, Text: "connected to amqp://127.0.0.1:5672"}, {Name: "service math", OK: true, For: 7384, Text: "serving"},
		},
		Process:     status.Process{Version: "rabbitrpc v1.4.0 go1.26.0 linux/amd64", Host: "api-7f9c", PID: 4711, Uptime: 183725, Goroutines: 87, RSS: 41 << 20},
		Connections: []status.Connection{{Name: "broker", State: "connected", For: 7384, Broker: "amqp://127.0.0.1:5672", Sessions: 3, Error: "connection reset by peer", ErrorAgo: 7386}},
		Services: []status.Service{
			{
				Name: "math", State: "serving", For: 7384, Running: 11, Limit: 64, Answered: 21_458_121, Replayed: 1204, Rejected: 3, Expired: 17,
				Store: &status.Store{Entries: 412_008, Bytes: 73 << 20}, Traffic: all,
				Methods: []status.Method{{Name: "fib", Traffic: fib}, {Name: "slow", Traffic: status.Traffic{Rate: 12.3, P50: 1.2, P90: 2.41, P99: 4.9, History: trend(24, 30, 11, 42)}}},
			},
			{
				Name: "images", State: "paused", For: 42, Limit: 8, Answered: 512, Traffic: status.Traffic{History: trend(0)},
				Methods: []status.Method{{Name: "resize", Traffic: status.Traffic{History: trend(0)}}},
			},
		},
		Called: []status.Called{
			{Name: "users", Presence: "present", Breaker: "closed", Traffic: status.Traffic{Rate: 88, P50: 0.0021, P90: 0.004, P99: 0.012, History: trend(170, 181, 160, 176)}},
			{Name: "billing", Presence: "absent", Breaker: "open", Traffic: status.Traffic{Rate: 3.4, Errors: 3.4, P50: 0.0001, P90: 0.0001, P99: 0.0003, History: trend(7, 6, 8)}},
		},
		Errors: []status.Error{
			{Where: "billing.charge", Side: "called", Code: "unavailable", Text: "breaker is open, next probe in 63ms: no server on queue rabbitrpc.billing", Call: "5a0c9b0e6f7d4c0b8a1f2e3d4c5b6a79", Ago: 0.4, Count: 204},
			{Where: "math.fib", Side: "answered", Code: "invalid_argument", Text: "n must be 0 to 93, got 94", Call: hostile, Ago: 71, Count: 19},
			{Where: "math." + strings.Repeat("long", 25), Side: "answered", Code: "resource_exhausted", Text: hostile + strings.Repeat("x", 280), Call: "1", Ago: 90061, Count: 1},
		},
	}
}

func TestPage(t *testing.T) {
	browser := testbrowser.Start(t)
	f := &fake{status: busy()}
	l := run(t, f.config("127.0.0.1:0"))
	for _, tt := range []struct {
		name, scheme string
		width        int64
	}{
		{"wide light", "light", 1400}, {"wide dark", "dark", 1400}, {"narrow light", "light", 390}, {"narrow dark", "dark", 390},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tab := testbrowser.Open(t, browser, l.url("/"), tt.width, tt.scheme)
			until(t, tab, `byID("result").textContent === "Ready"`)
			readable(t, tab)
			tab.Shot("status-" + strings.ReplaceAll(tt.name, " ", "-"))
			checkTexts(t, tab)
			if got := slices.Compact(slices.Sorted(slices.Values(tab.Fetched()))); !slices.Equal(got, []string{l.url("/"), l.url("/status.json")}) {
				t.Errorf("fetched %q, want the page and its data", got)
			}
			if got := tab.Errors(); len(got) > 0 {
				t.Errorf("errors in the console: %q", got)
			}
		})
	}
	t.Run("live", func(t *testing.T) {
		c := f.config("127.0.0.1:0")
		c.Token = secret
		l := run(t, c)
		tab := testbrowser.Open(t, browser, "http://"+url.UserPassword("me", secret).String()+"@"+l.Addr(), 1400, "light")
		until(t, tab, `byID("result").textContent === "Ready"`)
		change(t, tab, f)
		readable(t, tab)
		tab.Shot("status-not-ready")
		if got := tab.Errors(); len(got) > 0 {
			t.Errorf("errors in the console: %q", got)
		}
		l.stop()
		until(t, tab, `byID("result").textContent === "No answer" && !byID("lost").hidden`)
		readable(t, tab)
		tab.Prefer("dark")
		readable(t, tab)
		tab.Shot("status-lost")
		c.Addr = l.Addr()
		run(t, c)
		until(t, tab, `byID("result").textContent === "Not ready" && byID("lost").hidden`)
		readable(t, tab)
	})
}

// until waits for the page to show something, as it does within two seconds; a busy machine needs longer.
func until(t *testing.T, tab *testbrowser.Tab, condition string) {
	t.Helper()
	start := time.Now()
	met := testbrowser.JS[bool](tab, `(async () => {
		for (let i = 0; i < 1000; i++) {
			if (`+condition+`) return true;
			await new Promise(done => setTimeout(done, 20));
		}
		return false;
	})()`)
	if !met {
		t.Fatalf("not within %v: %s\n%s", time.Since(start), condition, testbrowser.JS[string](tab, `document.body.innerText`))
	}
}

// readable checks that nothing sticks out of the page, and measures the contrast of each text, as WCAG 2.2 does: 4.5 or more, 3
// for large ones.
func readable(t *testing.T, tab *testbrowser.Tab) {
	t.Helper()
	if wide := testbrowser.JS[int](tab, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		t.Errorf("the page is %d pixels too wide", wide)
	}
	faint := testbrowser.JS[[]string](tab, `(() => {
		const parts = c => c.match(/[\d.]+/g).map(Number);
		const lum = c => parts(c).slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
			.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
		const behind = e => {
			for (; e; e = e.parentElement) {
				const c = getComputedStyle(e).backgroundColor;
				if (parts(c)[3] !== 0) return c;
			}
			return "rgb(255, 255, 255)";
		};
		const faint = [];
		for (const e of document.body.querySelectorAll("*")) {
			if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
			const style = getComputedStyle(e), a = lum(style.color), b = lum(behind(e));
			const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) faint.push(contrast.toFixed(2) + " " + e.textContent.slice(0, 40));
		}
		return faint;
	})()`)
	if len(faint) > 0 {
		t.Errorf("too little contrast: %q", faint)
	}
}

func checkTexts(t *testing.T, tab *testbrowser.Tab) {
	t.Helper()
	const cells = `(id, row) => [...document.querySelectorAll("#" + id + " tbody tr")[row].cells].map(c => c.textContent).join("|")`
	for expression, want := range map[string]string{
		`byID("name").textContent`:                             "rabbitrpc serve on api-7f9c",
		`(` + cells + `)("services", 0)`:                       "math|serving|2 h 3 min|1 197 /s||0.03 %|420 µs|1.10 ms|18.7 ms|11 of 64|1 204",
		`(` + cells + `)("services", 1)`:                       "fib|||1 184 /s||0.03 %|420 µs|1.10 ms|18.7 ms||",
		`(` + cells + `)("services", 3)`:                       "images|paused|42 s|0 /s||–|–|–|–|0 of 8|0",
		`(` + cells + `)("called", 1)`:                         "billing|absent|open|3.40 /s||100 %|100 µs|100 µs|300 µs",
		`(` + cells + `)("connections", 0)`:                    "broker|connected|2 h 3 min|3|amqp://127.0.0.1:5672|connection reset by peer, 2 h 3 min ago",
		`(` + cells + `)("errors", 1)`:                         "math.fib|invalid_argument|answered|1 min 11 s ago|19|n must be 0 to 93, got 94|" + hostile,
		`(` + cells + `)("counts", 0)`:                         "math|21 458 121|1 204|0|3|17|0|0|0|0|412 008 in 73.0 MiB",
		`document.querySelectorAll("#services svg").length+""`: "5",
		`document.title`:                                       "Ready: rabbitrpc serve on api-7f9c",
	} {
		if got := strings.ReplaceAll(testbrowser.JS[string](tab, expression), "\u202f", " "); got != want {
			t.Errorf("%s\n got %q\nwant %q", expression, got, want)
		}
	}
}

// change changes what the process does, and sees it on the page, with what a reader has selected still selected.
func change(t *testing.T, tab *testbrowser.Tab, f *fake) {
	t.Helper()
	const selection = `getSelection().toString()`
	testbrowser.JS[bool](tab, `getSelection().selectAllChildren(document.querySelector("#connections tbody th")), true`)
	before := testbrowser.JS[string](tab, selection)
	f.change(func(s *status.Status) {
		s.Ready = false
		s.Checks[0] = status.Check{Name: "broker", For: 3, Text: "connecting: connection refused"}
		s.Checks[1] = status.Check{Name: "service math", For: 3, Text: "waiting: connection reset by peer"}
		s.Connections[0].State, s.Connections[0].Broker, s.Connections[0].Attempt = "connecting", "", 4
		s.Services = s.Services[:1:1]
		s.Services[0].State, s.Services[0].Methods = "waiting", s.Services[0].Methods[:1:1]
		s.Called, s.Errors = []status.Called{}, []status.Error{}
	})
	until(t, tab, `byID("result").textContent === "Not ready"`)
	for expression, want := range map[string]string{
		`byID("reasons").innerText`:                                                                          "broker for 3 s: connecting: connection refused\nservice math for 3 s: waiting: connection reset by peer",
		`document.querySelectorAll("#services tbody tr").length+""`:                                          "2",
		`byID("called").parentElement.hidden+""`:                                                             "true",
		`byID("errors").innerText`:                                                                           "There was none.",
		`document.querySelector("#connections tbody tr").cells[1].textContent`:                               "connecting",
		`getComputedStyle(byID("head")).borderLeftColor === getComputedStyle(byID("result")).color && "red"`: "red",
		selection: before,
	} {
		if got := strings.ReplaceAll(testbrowser.JS[string](tab, expression), "\u202f", " "); got != want {
			t.Errorf("%s\n got %q\nwant %q", expression, got, want)
		}
	}
}
