package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A use is what a process takes of its machine.
type use struct {
	after               time.Duration // since the beginning
	resident, anonymous int           // KiB of memory; anonymous is what is of no file
	goroutines, files   int
}

func (u use) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f anonymous, %d goroutines, %d files",
		float64(u.resident)/1024, float64(u.anonymous)/1024, u.goroutines, u.files)
}

// A usage is what a daemon takes, looked at each second.
type usage struct {
	t      *testing.T
	daemon *soaked
	start  time.Time
	stop   func()

	mu      sync.Mutex // guards what follows
	samples []use
}

func watchUse(t *testing.T, d *soaked) *usage {
	u := &usage{t: t, daemon: d, start: time.Now()}
	u.stop = repeat(t, time.Second, func() {
		sample, err := u.look()
		if err != nil {
			t.Error(err)
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.samples = append(u.samples, sample)
	})
	return u
}

// get returns a page of the admin listener, or why there is none.
func (u *usage) get(path string) string {
	res, err := http.Get("http://" + u.daemon.addr + path)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(page)
}

func (u *usage) look() (use, error) {
	metrics := u.get("/metrics")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.daemon.cmd.Process.Pid))
	if err != nil {
		return use{}, err
	}
	s := use{after: time.Since(u.start)}
	for _, f := range []struct {
		name string
		text string
		to   *int
	}{
		{"VmRSS:", string(status), &s.resident}, {"RssAnon:", string(status), &s.anonymous},
		{"go_goroutines", metrics, &s.goroutines}, {"process_open_fds", metrics, &s.files},
	} {
		m := regexp.MustCompile(`(?m)^` + f.name + `\s+(\d+)`).FindStringSubmatch(f.text)
		if m == nil {
			return use{}, fmt.Errorf("no %s in\n%s", f.name, f.text)
		}
		if *f.to, err = strconv.Atoi(m[1]); err != nil {
			return use{}, err
		}
	}
	return s, nil
}

func (u *usage) all() []use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.samples
}

func (u *usage) latest() string {
	if all := u.all(); len(all) > 0 {
		return all[len(all)-1].String()
	}
	return "nothing is known yet"
}

// median is what half of the samples between two points in time are not above, of each number alone.
func (u *usage) median(from, to time.Duration) use {
	var in []use
	for _, s := range u.all() {
		if s.after >= from && s.after < to {
			in = append(in, s)
		}
	}
	if len(in) == 0 {
		u.t.Fatalf("nothing is known from %v to %v", from, to)
	}
	of := func(number func(use) int) int {
		all := make([]int, len(in))
		for i, s := range in {
			all[i] = number(s)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return use{
		resident: of(func(s use) int { return s.resident }), anonymous: of(func(s use) int { return s.anonymous }),
		goroutines: of(func(s use) int { return s.goroutines }), files: of(func(s use) int { return s.files }),
	}
}

// judge compares the second sixth of the time, when all memories are full, with the last.
func (u *usage) judge(length time.Duration) {
	u.t.Helper()
	early, late := u.median(length/6, length/3), u.median(length*5/6, length)
	u.t.Logf("from %v to %v: %v", length/6, length/3, early)
	u.t.Logf("from %v to %v: %v", length*5/6, length, late)
	if most := early.anonymous*115/100 + 8<<10; late.anonymous > most {
		u.t.Errorf("anonymous memory grew from %d to %d KiB, want at most %d", early.anonymous, late.anonymous, most)
	}
	const few = 5
	if late.goroutines > early.goroutines+few {
		u.t.Errorf("goroutines grew from %d to %d:\n%s", early.goroutines, late.goroutines, u.get("/debug/pprof/goroutine?debug=1"))
	}
	if late.files > early.files+few {
		u.t.Errorf("open files grew from %d to %d", early.files, late.files)
	}
}
