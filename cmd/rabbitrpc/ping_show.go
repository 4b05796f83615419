package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
)

// A pinger shows answers, and counts them.
type pinger struct {
	service   string
	out       io.Writer
	paint     painter
	json      bool
	unwritten error // of the output: nobody sees what comes
	asked     int
	missed    int // pings that nobody answered
	answers   int
	all       latencies
	names     []string // of the instances, in their order
	instances map[string]*pinged
}

// pinged is what one instance has answered.
type pinged struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Answers int    `json:"answers"`

	least, most, sum time.Duration
}

func newPinger(service string, out io.Writer, asJSON bool) *pinger {
	return &pinger{service: service, out: out, paint: painterFor(out), json: asJSON, all: newLatencies(), instances: make(map[string]*pinged)}
}

const opening = time.Second // of a queue for the answers, and the like, before the first ping

// ping asks once, and shows who answers within the wait.
func (p *pinger) ping(ctx context.Context, d *client.Discovery, seq int, wait time.Duration) error {
	limit := wait
	if seq == 1 {
		limit += opening
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p.asked++
	before := p.answers
	defer func() {
		if p.answers == before {
			p.missed++
		}
	}()
	for a, err := range d.Instances(ctx, p.service, client.AskPing, wait) {
		if errors.Is(err, context.DeadlineExceeded) { // a dial takes longer than that, and goes on
			break
		}
		if err != nil {
			return err
		}
		if p.unwritten = p.answer(seq, &a); p.unwritten != nil {
			return p.unwritten
		}
	}
	if p.answers == before && !p.json {
		_, p.unwritten = fmt.Fprintln(p.out, p.paint(red, fmt.Sprintf("no answer: seq=%d", seq)))
	}
	return p.unwritten
}

func (p *pinger) answer(seq int, a *client.Answer) error {
	p.answers++
	p.all.add(a.Took)
	i := p.instances[a.ID]
	if i == nil && len(p.instances) < maxPinged {
		i = &pinged{Name: a.Name, ID: a.ID, least: a.Took}
		p.instances[a.ID] = i
		p.names = append(p.names, a.ID)
	}
	if i != nil {
		i.Answers++
		i.sum += a.Took
		i.least, i.most = min(i.least, a.Took), max(i.most, a.Took)
	}
	if p.json {
		return writeLine(p.out, map[string]any{
			"seq": seq, "service": a.Service, "name": a.Name, "id": a.ID, "version": a.Version, "state": a.State,
			"ms": float64(a.Took.Microseconds()) / 1000,
		})
	}
	text := fmt.Sprintf("%s: seq=%d time=%s", printable(a.Name, ""), seq, millis(a.Took.Microseconds()))
	if a.Version != "" {
		text += " version=" + printable(a.Version, "")
	}
	if a.State != "serving" {
		text += " " + p.paint(yellow, printable(a.State, ""))
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

// end shows the summary.
func (p *pinger) end() error {
	if p.json {
		all := make([]any, 0, len(p.names))
		for _, id := range p.names {
			all = append(all, p.instances[id])
		}
		return writeLine(p.out, map[string]any{"summary": map[string]any{
			"service": p.service, "asked": p.asked, "unanswered": p.missed, "answers": p.answers, "instances": all, "ms": p.all.object(),
		}})
	}
	text := fmt.Sprintf("\n%s: pings %d, unanswered %d, answers %d, instances %d\n", p.service, p.asked, p.missed, p.answers, len(p.names))
	if p.answers > 0 {
		text += fmt.Sprintln(p.all)
	}
	if len(p.names) > 1 {
		for _, id := range p.names {
			i := p.instances[id]
			text += fmt.Sprintf("%s: %d answers  min %s  avg %s  max %s\n", printable(i.Name, ""), i.Answers, millis(i.least.Microseconds()),
				millis((i.sum / time.Duration(i.Answers)).Microseconds()), millis(i.most.Microseconds()))
		}
	}
	_, err := io.WriteString(p.out, text)
	return err
}

// writeLine writes a JSON object on a line of its own.
func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, printable(string(line), ""))
	return err
}
