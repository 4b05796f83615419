package main

import (
	"io"
	"log/slog"
	"os"

	"go.uber.org/zap"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
)

// A process is what each that runs for long begins with: a configuration that SIGHUP has it read again, and a log.
type process struct {
	config  *config.Loaded
	load    func() (*config.Loaded, error)
	reloads <-chan os.Signal
	level   zap.AtomicLevel
	log     *slog.Logger
}

// begin reads the configuration. From before that on, neither SIGHUP nor readers of the output who end can end the process. The
// log is written when end returns.
func begin(load func() (*config.Loaded, error), logs io.Writer) (p *process, end func(), err error) {
	outliveReaders()
	reloads, stop := hangups()
	defer func() {
		if err != nil {
			stop()
		}
	}()
	c, err := load()
	if err != nil {
		return nil, nil, err
	}
	least, err := parseLevel(c.Log.Level)
	if err != nil {
		return nil, nil, err
	}
	level := zap.NewAtomicLevelAt(least)
	log, written := spooledLogger(logs, level, forPeople(c, logs))
	takeOver(log)
	return &process{c, load, reloads, level, log}, func() { written(); stop() }, nil
}

// setLevel changes the level of the log, which the configuration has checked.
func (p *process) setLevel(name string) {
	if l, err := parseLevel(name); err == nil {
		p.level.SetLevel(l)
	}
}
