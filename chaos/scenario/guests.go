package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// Guests are callers in a process of their own, which can be killed and frozen. What they do is in a history for each of
// their lives, to be taken into that of the run; in it a call is lost until it has ended.

// guestsName is the name of the process, and of its client: it stays the same, so that who comes back may ask for the
// calls of its life before.
const guestsName = "guests"

// newGuests prepares the process.
func (r *run) newGuests() (*server, error) {
	dir := filepath.Join(r.dir, guestsName)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", guestsName, err)
	}
	line, err := chaos.NewProxy(r.lab.brokerURL())
	if err != nil {
		return nil, err
	}
	return &server{name: guestsName, line: line, command: chaos.Command{
		Args: r.lab.config.Guests,
		Log:  filepath.Join(dir, "server.log"),
		Env: []string{
			"RABBITMQ_URL=" + line.URL() + "?heartbeat=" + heartbeatSeconds,
			"CHAOS_SERVICE=" + r.service,
			"CHAOS_DIR=" + dir,
			fmt.Sprint("CHAOS_CALLERS=", r.scenario.Guests),
			fmt.Sprint("CHAOS_SEED=", r.lab.config.Seed),
			fmt.Sprint("CHAOS_TIMEOUT=", int64(r.timeout())),
			fmt.Sprint("CHAOS_START=", r.history.Start().UnixNano()),
		},
	}}, nil
}

// Guests is the process of guests, until ctx ends. Its environment says what to do.
func Guests(ctx context.Context) error {
	dir := os.Getenv("CHAOS_DIR")
	var numbers [4]int64
	for i, name := range []string{"CHAOS_CALLERS", "CHAOS_SEED", "CHAOS_START", "CHAOS_TIMEOUT"} {
		n, err := strconv.ParseInt(os.Getenv(name), 10, 64)
		if err != nil {
			return errors.New("the environment does not say what to call: chaos runs start this themselves")
		}
		numbers[i] = n
	}
	lives, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return err
	}
	w, err := history.Join(filepath.Join(dir, fmt.Sprintf("life-%d.jsonl", len(lives)+1)), time.Unix(0, numbers[2]))
	if err != nil {
		return err
	}
	lost, err := lostCalls(lives)
	if err != nil {
		return err
	}
	m, err := conn.Open(ctx, conn.DefaultURL(), conn.WithBackgroundDial(), conn.WithName("chaos guests"),
		conn.WithLogger(slog.New(slog.DiscardHandler)), conn.WithBackoff(minBackoff, maxBackoff))
	if err != nil {
		return err
	}
	l, err := newLoad(m, guestsName, &load{
		service: os.Getenv("CHAOS_SERVICE"), thinking: 10 * time.Millisecond, history: w, timeout: time.Duration(numbers[3]), mortal: true,
	})
	if err != nil {
		return err
	}
	var callers sync.WaitGroup
	for i := range numbers[0] {
		c := &caller{
			load: l, name: fmt.Sprintf("guest-%d.%d", len(lives)+1, i+1),
			random: rand.New(rand.NewPCG(uint64(numbers[1]), uint64(len(lives)<<16)+uint64(i)+1<<32)),
		}
		callers.Go(func() {
			for n := int(i); n < len(lost); n += int(numbers[0]) {
				c.ask(context.WithoutCancel(ctx), history.Again, lost[n])
			}
			c.run(context.WithoutCancel(ctx), ctx)
		})
	}
	callers.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
	defer cancel()
	l.close(ctx)
	_ = m.Close(ctx)
	_, err = w.Close()
	return err
}

// lostCalls returns the calls of earlier lives of which nobody knows how they ended.
func lostCalls(lives []string) (lost []asked, _ error) {
	calls, err := guestCalls(lives)
	if err != nil {
		return nil, err
	}
	for _, c := range calls {
		if c.Outcome == history.Lost && c.Kind != history.Other {
			lost = append(lost, asked{op: c.Op, id: c.ID, tag: c.Tag, input: c.Input, timeout: longTimeout})
		}
	}
	return lost, nil
}

// guestCalls reads what the lives have done: of each call what was written last.
func guestCalls(lives []string) ([]history.Call, error) {
	type key struct {
		process, id string
		invoked     time.Duration
	}
	var calls []history.Call
	at := make(map[key]int)
	for _, name := range lives {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		h, err := history.Read(bufio.NewReader(file))
		file.Close()
		if err != nil {
			return nil, err
		}
		for _, c := range h.Calls {
			k := key{c.Process, c.ID, c.Invoked}
			if i, known := at[k]; known {
				calls[i] = c
				continue
			}
			at[k] = len(calls)
			calls = append(calls, c)
		}
	}
	return calls, nil
}

// takeGuests takes what the guests have done into the history of the run.
func (r *run) takeGuests() error {
	lives, err := filepath.Glob(filepath.Join(r.dir, guestsName, "*.jsonl"))
	if err != nil {
		return err
	}
	calls, err := guestCalls(lives)
	for _, c := range calls {
		r.history.Call(c)
	}
	return err
}
