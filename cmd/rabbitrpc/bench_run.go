package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench"
	benchreport "github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/report"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

func (f *benchFlags) run(ctx context.Context, out, errs io.Writer) error {
	if _, err := newLogger(errs, f.logLevel); err != nil { // or each worker would say so
		return err
	}
	if f.Profiles != "" {
		if err := emptyDir(f.Profiles); err != nil {
			return err
		}
	}
	if f.URL != "" {
		if err := f.reach(ctx, errs); err != nil {
			return interrupted(ctx, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Worker = func() *exec.Cmd { return exec.Command(self, benchWorker, "--log-level", f.logLevel) }
	hide := f.showProgress(errs)
	report, err := bench.Run(ctx, f.Config)
	hide()
	if report != nil {
		err = errors.Join(err, f.write(out, report))
	}
	if err == nil && report.Failed() > 0 {
		err = fmt.Errorf("%d calls failed", report.Failed())
	}
	return interrupted(ctx, err)
}

// reach makes sure that the broker of somebody else is there, before all else.
func (f *benchFlags) reach(ctx context.Context, errs io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	log, err := newLogger(errs, f.logLevel)
	if err != nil {
		return err
	}
	m, err := open(ctx, f.URL, "rabbitrpc bench", log)
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, m.Close)
	err = reach(ctx, m, errs)
	if errors.Is(err, conn.ErrNotConnected) && !errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrTLS) {
		return &hintedError{err, "is RabbitMQ running there? --url says where"} // there is no --timeout
	}
	return err
}

func (f *benchFlags) write(out io.Writer, r *benchreport.Report) error {
	if f.svg != "" {
		if err := writeSVG(f.svg, r); err != nil {
			return fmt.Errorf("write plots: %w", err)
		}
	}
	if f.output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.Text(out)
}

func writeSVG(name string, r *benchreport.Report) error {
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(r.SVG(w), w.Close())
}

// showProgress shows a bar, if there is a terminal. What it returns takes the bar away.
func (f *benchFlags) showProgress(errs io.Writer) (hide func()) {
	if !isTerminal(errs) {
		return func() {}
	}
	bar := progressbar.NewOptions(1, progressbar.OptionSetWriter(errs), progressbar.OptionShowCount(), progressbar.OptionSetWidth(20),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false), progressbar.OptionSetDescription("starting"))
	bar.RenderBlank() // an error of it is of no interest, here and below
	f.Show = func(p bench.Progress) {
		bar.ChangeMax(p.Total)
		bar.Describe(p.Doing)
		bar.Set(p.Done)
	}
	return func() { bar.Clear() }
}
