package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/client"
)

// consumers waits until each server consumes, for those that say it in the broker: all do.
func (r *run) consumers(ctx context.Context) (stock, error) {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	var last stock
	var trouble error // before the time was over: then nothing can be asked any more
	since := time.Now()
	for {
		now, err := r.brokerStock(ctx)
		if err == nil && !now.equals(last) {
			last, since = now, time.Now()
		}
		if ctx.Err() == nil {
			trouble = err
		}
		if err == nil && now["consumers"] >= len(r.names) && time.Since(since) >= steadyFor {
			return now, nil
		}
		for _, name := range r.names {
			if err := r.servers[name].ended(ctx); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("after %v there are %d consumers: want one for each of %d servers, for %v without a change",
				readyLimit, last["consumers"], len(r.names), steadyFor), trouble)
		}
	}
}

// steadyFor is how long what the broker has must be the same before it counts as what the servers need: they take requests
// before they are ready to be asked who they are.
const steadyFor = time.Second

// ready waits until the service answers.
func (r *run) ready(ctx context.Context) error {
	_, err := client.Call(ctx, r.load.mine, bank.Accounts(r.service), bank.Nothing{},
		client.WaitForServer(), client.WithTimeout(readyLimit))
	if err != nil {
		return fmt.Errorf("the service %s does not answer accounts: %w", r.service, err)
	}
	return nil
}

// read reads what is left in the end: the ledger, and the balances. What nobody has waited for may still take effect; it has had
// the time of a call to do so.
func (r *run) read(ctx context.Context) error {
	if err := r.empty(ctx); err != nil {
		return err
	}
	opts := []client.CallOption{client.WaitForServer(), client.WithTimeout(r.timeout())}
	err := r.readLedger(func(after int64) (bank.Entries, error) {
		return client.Call(ctx, r.load.mine, bank.Ledger(r.service), bank.After{Seq: after}, opts...)
	})
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	b, err := client.Call(ctx, r.load.mine, bank.Accounts(r.service), bank.Nothing{}, opts...)
	if err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	r.history.Balances(b.Balances)
	return nil
}

// readLedger reads the ledger to its end, a page after the other. One whose numbers do not grow has no end.
func (r *run) readLedger(page func(after int64) (bank.Entries, error)) error {
	for after := int64(0); ; {
		p, err := page(after)
		if err != nil || len(p.Entries) == 0 {
			return err
		}
		for _, e := range p.Entries {
			if e.Seq <= after {
				return fmt.Errorf("entry %d came after entry %d: ledger has to return those with a seq beyond that of the request, in their order", e.Seq, after)
			}
			r.history.Entry(history.Entry(e))
			after = e.Seq
		}
	}
}

// empty waits until the request queue is empty, or until all that was in it must have expired.
func (r *run) empty(ctx context.Context) error {
	limit := time.Now().Add(r.timeout() + heartbeat)
	for {
		in, err := r.lab.node.Inventory(ctx)
		if err != nil {
			return err
		}
		if in.Queues[r.queue()] == 0 || time.Now().After(limit) {
			return nil
		}
	}
}

// A stock is what there is: in the broker while the servers run, and in this process while they do not, since their lines go
// through it.
type stock map[string]int

// ownStock counts what this process has.
func ownStock() stock { return stock{"goroutines": runtime.NumGoroutine(), "files": openFiles()} }

// brokerStock counts what the broker has, and takes note of its queues.
func (r *run) brokerStock(ctx context.Context) (stock, error) {
	in, err := r.lab.node.Inventory(ctx)
	r.queues = in.Queues
	return stock{
		"connections": in.Connections, "channels": in.Channels, "consumers": in.Consumers, "queues": len(in.Queues),
	}, err
}

// settleLimit is beyond the waits between the dials of those who were refused.
const settleLimit = 30 * time.Second

// settled waits until nothing is left that was not there before: the broker takes its time to notice that somebody has
// gone. It returns what there is then, or after a while.
func settled(ctx context.Context, before stock, take func() (stock, error)) (stock, error) {
	limit := time.Now().Add(settleLimit)
	for {
		now, err := take()
		if err != nil || now.equals(before) || time.Now().After(limit) || !wait(ctx, sampleEvery) {
			return now, err
		}
	}
}

// equals reports whether there is what there was before, of what s counts. Of what this process has there may be less.
func (s stock) equals(before stock) bool {
	for what, n := range s {
		own := what == "goroutines" || what == "files"
		if n > before[what] || n < before[what] && !own {
			return false
		}
	}
	return true
}

// openFiles counts the files of this process; 0 where nobody tells.
func openFiles() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}

// scan looks in the logs, and in the history, for what must not be there, and counts in the logs what must.
func (r *run) scan() error {
	if err := r.history.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	logs, err := r.serverLogs()
	if err != nil {
		return err
	}
	for _, name := range r.names {
		logs = append(logs, r.servers[name].command.Log)
	}
	if r.guests != nil {
		logs = append(logs, r.guests.command.Log)
	}
	said := make(map[string]int)
	for _, log := range logs {
		if err := r.look(log, said); err != nil {
			return err
		}
	}
	r.history.Inventory(history.Inventory{When: history.InLogs, Count: said})
	return r.look(filepath.Join(r.dir, "history.jsonl"), nil)
}

// look looks for what must not be in a file, and counts the lines in which something is that must.
func (r *run) look(path string, said map[string]int) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("scan logs: %w", err)
	}
	defer file.Close()
	secrets := r.lab.secrets()
	found := make(map[string]bool) // the first of each kind is enough
	lines := bufio.NewReader(file) // line by line, since a history can be larger than memory
	for {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("scan logs: %w", err)
		}
		for _, text := range r.scenario.MustBite {
			if said != nil && strings.Contains(line, text) {
				said[text]++
			}
		}
		if kind := suspicion(line, secrets); kind != "" && !found[kind] {
			found[kind] = true
			text := r.hide(line)
			r.history.Finding(history.Finding{Kind: kind, Where: filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path),
				Text: text[:min(len(text), 300)]})
		}
		if err == io.EOF {
			return nil
		}
	}
}

// suspicion is the kind of finding that a line is; empty if it is none.
func suspicion(line string, secrets []string) string {
	has := func(text string) bool { return strings.Contains(line, text) }
	switch {
	case slices.ContainsFunc(secrets, has):
		return "secret"
	case has("unknown delivery tag"):
		return "unknown delivery tag"
	case has("WARNING: DATA RACE"):
		return "data race"
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
		return "panic"
	}
	return ""
}

// hide takes the secrets out of what will be shown.
func (r *run) hide(text string) string {
	for _, s := range r.lab.secrets() {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// serverLogs copies what the broker and the database have said since the run began.
func (r *run) serverLogs() (copies []string, err error) {
	for _, l := range r.logs {
		to := filepath.Join(r.dir, l.name)
		if err := copyFrom(l.path, l.offset, to); err != nil {
			return nil, fmt.Errorf("copy logs: %w", err)
		}
		copies = append(copies, to)
	}
	return copies, nil
}

// A log is that of a server that serves several runs.
type log struct {
	name, path string
	offset     int64 // where it was when the run began
}

func newLog(name, path string) log {
	info, err := os.Stat(path)
	if err != nil {
		return log{name, path, 0}
	}
	return log{name, path, info.Size()}
}

func copyFrom(path string, offset int64, to string) error {
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
