package daemon_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestReloadUnderLoad: services change under load, and no call fails.
func TestReloadUnderLoad(t *testing.T) {
	c := caller(t, "re-a", "re-b")
	const before = `services: [{name: re-a, kind: worker, answer: old, takes: 5ms, workers: 4}, {name: re-b, kind: worker, takes: 1ms}]`
	r := up(t, before)
	stop := load(t, c, "re-a", "re-b")
	for _, tt := range []struct {
		name, text string
		want       []string
		not        string
	}{
		{"workers", strings.Replace(before, "workers: 4", "workers: 8", 1), []string{"applied key=services.re-a.workers from=4 to=8 when=now"}, "re-b"},
		{"what its kind has", strings.Replace(before, "old", "new", 1), []string{"applied key=services.re-a.answer from=old to=new"}, "re-b"},
		{"nothing", strings.Replace(before, "old", "new", 1), []string{"configuration read"}, "applied"},
		{
			"the queue", strings.Replace(before, "workers: 4", "workers: 4, answer: newer, quorum: 5, max_queue: 9", 1),
			[]string{"needs a restart key=services.re-a.quorum from=0 to=5", "needs a restart key=services.re-a.max_queue"}, "cannot serve",
		},
		{"broken", "services: [{nmae: x, kind: worker}]", []string{"configuration not read: the old one stays in force", "unknown key services[0].nmae"}, "applied"},
		{"gone", "{", []string{"configuration not read", "yaml: line 1"}, "applied"},
	} {
		text := strings.ReplaceAll(tt.text, "answer: old, takes: 5ms, workers: 4, answer: newer", "answer: newer, takes: 5ms, workers: 4")
		got := r.reload(text)
		got = strings.ReplaceAll(strings.ReplaceAll(got, "msg=", ""), `"`, "")
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: not said: %s\n%s", tt.name, want, got)
			}
		}
		if strings.Contains(got, tt.not) {
			t.Errorf("%s: said: %s\n%s", tt.name, tt.not, got)
		}
	}
	for i := range 10 {
		r.reload(strings.ReplaceAll(before, "takes", fmt.Sprintf("drain: 3%ds, takes", i%10)))
	}
	if calls, errs := stop(); len(errs) > 0 || calls < 100 {
		t.Errorf("%d calls, and these failed: %v", calls, errs)
	}
	if got, _, err := call(t, c, "re-a", "work", ""); got != "old" || err != nil {
		t.Errorf("got %q, %v, want what the configuration says now", got, err)
	}
}

// TestReloadStaysReady: while the old one drains, it is the new one that is looked at.
func TestReloadStaysReady(t *testing.T) {
	c := caller(t, "re-ready")
	const text = `services: [{name: re-ready, kind: worker, answer: old}]`
	r := up(t, text)
	old := r.daemon.Servers()[0]
	called := make(chan error, 1)
	go func() {
		_, _, err := call(t, c, "re-ready", "hang", "")
		called <- err
	}()
	r.until("a call runs", func() bool { return old.Stats().Running == 1 })
	r.write(strings.Replace(text, "old", "new", 1))
	r.hup <- syscall.SIGHUP
	r.until("the old one drains", func() bool {
		if s := r.daemon.Servers(); len(s) != 1 || s[0].State().Phase != server.Serving {
			t.Fatalf("%d servers, the first %v", len(s), s[0].State().Phase)
		}
		return old.State().Phase == server.Draining
	})
	if s := r.daemon.Servers()[0]; s == old {
		t.Error("the old one is looked at")
	}
	close(r.release)
	must(t, <-called)
}

// TestReloadWhileDraining: a reload does not wait for the drains of those before, and the end of the daemon does.
func TestReloadWhileDraining(t *testing.T) {
	c := caller(t, "re-slow", "re-gone")
	const text = `services: [{name: re-slow, kind: worker, answer: one, drain: 1m}, {name: re-gone, kind: worker, drain: 1m}]`
	r := up(t, text)
	called := make(chan error, 2)
	for i, s := range r.daemon.Servers() {
		go func() {
			_, _, err := call(t, c, s.Service(), "hang", fmt.Sprint(i))
			called <- err
		}()
		r.until("a call runs", func() bool { return s.Stats().Running == 1 })
	}
	for _, answer := range []string{"two", "three"} {
		r.reload(`services: [{name: re-slow, kind: worker, drain: 1s, answer: ` + answer + `}]`)
		if got, _, err := call(t, c, "re-slow", "work", ""); got != answer || err != nil {
			t.Errorf("got %q, %v, want %s", got, err, answer)
		}
	}
	if s := r.daemon.Services(); len(s) != 1 {
		t.Errorf("%d services, want the one that is left", len(s))
	}
	r.stop()
	r.until("it drains", func() bool { return strings.Contains(r.log.String(), "draining limit=1m0s") }) // of what was in force
	select {
	case err := <-r.done:
		t.Fatalf("it has ended with %v while calls run", err)
	default:
	}
	close(r.release)
	must(t, <-called)
	must(t, <-called)
	must(t, r.ended())
}

// TestReloadsThatAllDrain: no more than a few lives of a service drain at a time, however often it is changed.
func TestReloadsThatAllDrain(t *testing.T) {
	c := caller(t, "re-many")
	const text = `services: [{name: re-many, kind: worker, answer: "0", workers: 1, drain: 1m}]`
	r := up(t, text)
	called := make(chan error, 8)
	hang := func() {
		s := r.daemon.Servers()[0]
		go func() { _, _, err := call(t, c, "re-many", "hang", ""); called <- err }()
		r.until("a call runs", func() bool { return s.Stats().Running == 1 })
	}
	hang()
	for i := range 4 {
		r.reload(strings.Replace(text, `"0"`, fmt.Sprintf(`"%d"`, i+1), 1))
		hang()
	}
	r.write(strings.Replace(text, `"0"`, `"5"`, 1))
	r.hup <- syscall.SIGHUP
	r.until("it waits", func() bool { return strings.Contains(r.log.String(), "waiting for a drain") })
	if n := r.open.Load(); n != 5 {
		t.Errorf("%d lives, want 5", n)
	}
	close(r.release)
	for range 5 {
		must(t, <-called)
	}
	r.until("the last change is applied", func() bool { return strings.Contains(r.log.String(), "from=4 to=5") })
}

// TestReloadRenames: a service under another name takes up the memory of the one that is gone, which drains.
func TestReloadRenames(t *testing.T) {
	c := caller(t, "re-before", "re-after")
	text := "services: [{name: re-before, kind: worker, answer: here, dedupe: {store: bolt, path: " + filepath.Join(t.TempDir(), "m.db") + "}}]"
	r := up(t, text)
	called := make(chan error, 1)
	go func() { _, _, err := call(t, c, "re-before", "hang", ""); called <- err }()
	r.until("a call runs", func() bool { return r.daemon.Servers()[0].Stats().Running == 1 })
	r.reload(strings.Replace(text, "re-before", "re-after", 1))
	if got, _, err := call(t, c, "re-after", "work", ""); got != "here" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	r.reload(text) // while that drains which had the name before
	if got, _, err := call(t, c, "re-before", "work", ""); got != "here" || err != nil {
		t.Errorf("back again: got %q, %v", got, err)
	}
	close(r.release)
	must(t, <-called)
}

// TestReloadWithoutABroker: what is to change waits for the broker, and a later configuration takes its place.
func TestReloadWithoutABroker(t *testing.T) {
	broker, err := chaos.NewProxy(testbroker.URL(t))
	must(t, err)
	t.Cleanup(broker.Close)
	c := caller(t, "re-away", "re-away-2", "re-away-3")
	const text = `services: [{name: re-away, kind: worker, answer: old}]`
	r := startAt(t, broker.URL(), text)
	r.waitReady()
	broker.Inject(chaos.Refuse{})
	broker.Inject(chaos.Reset{})
	r.until("the connection is lost", func() bool { return r.daemon.Broker().Phase != conn.Connected })
	for i, name := range []string{"re-away-2", "re-away-3"} {
		r.write(strings.Replace(text, "re-away, ", name+", ", 1))
		r.hup <- syscall.SIGHUP
		r.until("it waits", func() bool {
			return strings.Count(r.log.String(), "no connection with the broker: services are changed once there is one") == i+1
		})
	}
	if s := r.daemon.Services(); len(s) != 1 || s[0].Config.Name != "re-away" {
		t.Errorf("serves %v while nothing can be changed", s)
	}
	broker.Heal()
	r.until("the last one is in force", func() bool { return strings.Contains(r.log.String(), "configuration read") })
	if got, _, err := call(t, c, "re-away-3", "work", ""); got != "old" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if s := r.daemon.Services(); len(s) != 1 || s[0].Config.Name != "re-away-3" {
		t.Errorf("serves %v", s)
	}
}

// TestReloadRemembers: a call that was answered before is not run again after.
func TestReloadRemembers(t *testing.T) {
	c := caller(t, "re-memory")
	for _, store := range []string{"{store: lru}", "{store: bolt, path: " + filepath.Join(t.TempDir(), "m.db") + "}"} {
		r := up(t, "services: [{name: re-memory, kind: worker, answer: first, dedupe: "+store+"}]")
		id := "call of " + store
		if got, replayed, err := call(t, c, "re-memory", "work", id); got != "first" || replayed || err != nil {
			t.Errorf("got %q, replayed %t, %v", got, replayed, err)
		}
		r.reload("services: [{name: re-memory, kind: worker, answer: second, dedupe: " + store + "}]")
		if got, replayed, err := call(t, c, "re-memory", "work", id); got != "first" || !replayed || err != nil {
			t.Errorf("%s: got %q, replayed %t, %v, want what was answered before", store, got, replayed, err)
		}
		r.stop()
		must(t, r.ended())
	}
}

func TestReloadServices(t *testing.T) {
	c := caller(t, "re-1", "re-2", "re-3")
	r := up(t, `services: [{name: re-1, kind: worker}, {name: re-2, kind: worker}]`)
	got := r.reload(`services: [{name: re-3, kind: worker, answer: three}, {name: re-2, kind: worker}]`)
	for _, want := range []string{`key=services.re-3 when="now: it is new"`, `key=services.re-1 when="now: it is removed"`} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %s\n%s", want, got)
		}
	}
	if got, _, err := call(t, c, "re-3", "work", ""); got != "three" || err != nil {
		t.Errorf("got %q, %v from the new service", got, err)
	}
	if _, _, err := call(t, c, "re-1", "work", ""); err == nil {
		t.Error("the service that was removed answers")
	}
	if s := r.daemon.Services(); len(s) != 2 || s[0].Config.Name != "re-3" || s[1].Config.Name != "re-2" {
		t.Errorf("got %v, want the order of the configuration", s)
	}
}

// TestReloadFails: a service that cannot be started leaves the old one where it is.
func TestReloadFails(t *testing.T) {
	c := caller(t, "re-fails", "re-other")
	old := up(t, `services: [{name: re-other, kind: worker}]`)
	old.stop()
	must(t, old.ended())
	r := up(t, `services: [{name: re-fails, kind: worker, answer: old}]`)
	got := r.reload(`services: [{name: re-fails, kind: worker, answer: old}, {name: re-other, kind: worker, max_queue: 7}]`)
	if !strings.Contains(got, "service not changed: what was in force stays so") || !strings.Contains(got, "service re-other: declare queue rabbitrpc.re-other") {
		t.Errorf("got %s", got)
	}
	if got, _, err := call(t, c, "re-fails", "work", ""); got != "old" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := r.reload(`services: [{name: re-fails, kind: worker, answer: old}, {name: re-other, kind: worker}]`); !strings.Contains(got, "it is new") {
		t.Errorf("put right, it is not served: %s", got)
	}
}

// TestReloadRenamesInVain: a service keeps its old name until it takes calls under the new one.
func TestReloadRenamesInVain(t *testing.T) {
	m := listen(t, "")
	c := caller(t, "re-name", "re-taken", "re-third")
	other := up(t, `services: [{name: re-taken, kind: worker}]`)
	other.stop()
	must(t, other.ended())
	const text = `services: [{name: re-name, kind: worker, answer: old}, {name: re-third, kind: worker}]`
	r := up(t, text)
	wrong := strings.Replace(text, "re-name, ", "re-taken, max_queue: 7, ", 1)
	for range 2 { // the second time, too
		got := r.reload(wrong)
		for _, want := range []string{
			"level=ERROR msg=\"service not changed: what was in force stays so\" service=re-taken", "level=WARN msg=\"not applied\" key=services.re-name",
			"level=ERROR msg=\"configuration read, and not all of it is in force\" services=re-taken",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("not said: %s\n%s", want, got)
			}
		}
		if got, _, err := call(t, c, "re-name", "work", ""); got != "old" || err != nil {
			t.Errorf("got %q, %v, want an answer as before", got, err)
		}
		m.hears("RELOADING=1")
		m.hears("READY=1")
		if said := <-m.lines; !strings.Contains(said, "not in force since the last reload, see the log: re-taken") {
			t.Errorf("systemd is told %s", said)
		}
	}
	got := r.reload(strings.Replace(wrong, ", max_queue: 7", "", 1))
	if !strings.Contains(got, "services.re-name when=\"now: it is removed\"") || strings.Contains(got, "not in force") {
		t.Errorf("put right, got %s", got)
	}
	if got, _, err := call(t, c, "re-taken", "work", ""); got != "old" || err != nil {
		t.Errorf("got %q, %v from the new name", got, err)
	}
}

func TestReloadLog(t *testing.T) {
	r := up(t, "services: [{name: re-log, kind: worker}]")
	caller(t, "re-log")
	got := r.reload("log: {level: debug, format: json}\nadmin: {listen: '127.0.0.1:0'}\nservices: [{name: re-log, kind: worker}]")
	if l := r.level.Load(); l == nil || *l != "debug" {
		t.Errorf("got the level %v, want debug", l)
	}
	for _, want := range []string{"applied key=log.level", "needs a restart key=log.format", "needs a restart key=admin.listen"} {
		if !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(got, "msg=", ""), `"`, ""), want) {
			t.Errorf("not said: %s\n%s", want, got)
		}
	}
	if got := r.reload("log: {level: debug, format: json}\nservices: [{name: re-log, kind: worker}]"); !strings.Contains(got, "log.format") || strings.Contains(got, "log.level") {
		t.Errorf("what still needs a restart is said again, and nothing else: %s", got)
	}
}

func TestReloadTLS(t *testing.T) {
	caller(t, "re-tls")
	r := startAt(t, testbroker.URL(t)+",amqps://127.0.0.1:1", "services: [{name: re-tls, kind: worker}]")
	r.waitReady()
	got := r.reload("broker: {tls: {server_name: broker.example}}\nservices: [{name: re-tls, kind: worker}]")
	if !strings.Contains(got, `key=broker.tls.server_name from="" to=broker.example when="with the next connection"`) {
		t.Errorf("got %s", got)
	}
	got = r.reload("broker: {tls: {ca_file: /nowhere}}\nservices: [{name: re-tls, kind: worker}]")
	if !strings.Contains(got, "broker.tls.ca_file: cannot be read") || !strings.Contains(got, "stays in force") {
		t.Errorf("a file that is not there: got %s", got)
	}
}

// TestReloadCredentials: the next connection is made with what another file says, or that file by then.
func TestReloadCredentials(t *testing.T) {
	broker, err := chaos.NewProxy(testbroker.URL(t))
	must(t, err)
	t.Cleanup(broker.Close)
	u, err := url.Parse(broker.URL())
	must(t, err)
	valid := u.User.String()
	u.User = url.UserPassword("nobody", "secret-of-nobody")
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/one", []byte(valid+"\n"), 0o600))
	must(t, os.WriteFile(dir+"/two", []byte("nobody:secret-of-two"), 0o600))
	c := caller(t, "re-login")
	const services = "\nservices: [{name: re-login, kind: worker}]"
	r := startAt(t, u.String(), "broker: {credentials_file: "+dir+"/one}"+services)
	r.waitReady()
	if got := r.reload("broker: {credentials_file: " + dir + "/two}" + services); !strings.Contains(got, "broker.credentials_file") {
		t.Errorf("not said: %s", got)
	}
	must(t, os.Remove(dir+"/one"))
	must(t, os.WriteFile(dir+"/two", []byte(valid), 0o600)) // no need to say so
	broker.Inject(chaos.Reset{})
	broker.Heal()
	r.until("it serves again", func() bool { _, _, err := call(t, c, "re-login", "work", ""); return err == nil })
	if log := r.log.String(); strings.Contains(log, "secret-") || strings.Contains(log, "cannot connect") {
		t.Errorf("it has tried what was in force before, or a password is in the log:\n%s", log)
	}
}

// What keeps a daemon from its start can be set right by a reload.
func TestReloadBeforeReady(t *testing.T) {
	dir := t.TempDir()
	broker, err := url.Parse(testbroker.URL(t))
	must(t, err)
	wrong, right := filepath.Join(dir, "wrong"), filepath.Join(dir, "right")
	must(t, os.WriteFile(wrong, []byte("guest:wrong\n"), 0o600))
	password, _ := broker.User.Password()
	must(t, os.WriteFile(right, []byte(broker.User.Username()+":"+password+"\n"), 0o600))
	text := "broker: {credentials_file: " + wrong + "}\nservices: [{name: re-start, kind: worker}]"
	caller(t, "re-start")
	r := start(t, text)
	r.until("it is refused", func() bool { return strings.Contains(r.log.String(), "broker refuses") })
	r.write(strings.Replace(text, wrong, right, 1))
	r.hup <- syscall.SIGHUP
	r.waitReady()
}
