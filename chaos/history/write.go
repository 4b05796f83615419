package history

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A record is a line: one of its fields is set.
type record struct {
	Run       *Run       `json:"run,omitempty"`
	Call      *Call      `json:"call,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Phase     *Phase     `json:"phase,omitempty"`
	Session   *Session   `json:"session,omitempty"`
	Sample    *Sample    `json:"sample,omitempty"`
	Inventory *Inventory `json:"inventory,omitempty"`
	Entry     *Entry     `json:"entry,omitempty"`
	Finding   *Finding   `json:"finding,omitempty"`
	Balances  []int64    `json:"balances,omitempty"`
}

// A Writer writes a history to a file, and keeps nothing of it in memory, however long the run.
type Writer struct {
	start time.Time
	hasty bool // each line is written at once

	mu   sync.Mutex // guards what follows
	file *os.File
	buf  *bufio.Writer
	json *json.Encoder
	err  error // the first
}

// Create makes the file, which must not exist, and starts the clock of the run.
func Create(path string, r Run) (*Writer, error) {
	w, err := newWriter(path, time.Now())
	if err != nil {
		return nil, fmt.Errorf("create history: %w", err)
	}
	r.Started = w.start
	w.add(record{Run: &r})
	return w, nil
}

// Join makes a file for a part of a run that began at start: that of a process that may be killed. Each line is written at
// once.
func Join(path string, start time.Time) (*Writer, error) {
	now := time.Now() // with the monotonic clock, that start may not have
	w, err := newWriter(path, now.Add(-now.Sub(start)))
	if err != nil {
		return nil, fmt.Errorf("join history: %w", err)
	}
	w.hasty = true
	return w, nil
}

func newWriter(path string, start time.Time) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // to read: see Close
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriterSize(f, 1<<16)
	return &Writer{start: start, file: f, buf: buf, json: json.NewEncoder(buf)}, nil
}

// Start returns when the run began.
func (w *Writer) Start() time.Time { return w.start }

// Since returns the time of the run.
func (w *Writer) Since() time.Duration { return time.Since(w.start) }

// Call adds a call.
func (w *Writer) Call(c Call) { w.add(record{Call: &c}) }

// Fault adds a fault.
func (w *Writer) Fault(f Fault) { w.add(record{Fault: &f}) }

// Phase adds a phase.
func (w *Writer) Phase(p Phase) { w.add(record{Phase: &p}) }

// Session adds a session.
func (w *Writer) Session(s Session) { w.add(record{Session: &s}) }

// Sample adds a sample.
func (w *Writer) Sample(s Sample) { w.add(record{Sample: &s}) }

// Inventory adds an inventory.
func (w *Writer) Inventory(i Inventory) { w.add(record{Inventory: &i}) }

// Entry adds an entry of the ledger.
func (w *Writer) Entry(e Entry) { w.add(record{Entry: &e}) }

// Finding adds a finding.
func (w *Writer) Finding(f Finding) { w.add(record{Finding: &f}) }

// Balances adds the accounts' balances at the end.
func (w *Writer) Balances(b []int64) { w.add(record{Balances: b}) }

func (w *Writer) add(r record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.json.Encode(r)
	if w.hasty {
		err = errors.Join(err, w.buf.Flush())
	}
	if err != nil && w.err == nil {
		w.err = err
	}
}

// Flush writes to the file what is still to be written.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Flush()
}

// Close completes the file and returns all that is in it. The error tells that it is not complete.
func (w *Writer) Close() (*History, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.file.Close()
	if err := cmp.Or(w.err, w.buf.Flush()); err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return Read(w.file)
}

// Read reads what a Writer has written. A last line that is not complete, of a run that was killed, is left out.
func Read(r io.Reader) (*History, error) {
	h := new(History)
	lines := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, fmt.Errorf("read history, line %d: %w", n, err)
		}
		h.add(rec)
	}
}

func (h *History) add(r record) {
	switch {
	case r.Call != nil:
		h.Calls = append(h.Calls, *r.Call)
	case r.Fault != nil:
		h.Faults = append(h.Faults, *r.Fault)
	case r.Phase != nil:
		h.Phases = append(h.Phases, *r.Phase)
	case r.Session != nil:
		h.Sessions = append(h.Sessions, *r.Session)
	case r.Sample != nil:
		h.Samples = append(h.Samples, *r.Sample)
	case r.Inventory != nil:
		h.Inventories = append(h.Inventories, *r.Inventory)
	case r.Entry != nil:
		h.Entries = append(h.Entries, *r.Entry)
	case r.Finding != nil:
		h.Findings = append(h.Findings, *r.Finding)
	case r.Run != nil:
		h.Run = *r.Run
	case r.Balances != nil:
		h.Balances = r.Balances
	}
}
