package main

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	sampleFor  = time.Second
	sampleMost = 20 // lines that say the same, in that time
)

// sampled bounds what a core gets: of the lines with one level and message the first few of each second. How many were
// left out is said by a line of its own, before the next one that is not.
func sampled(core zapcore.Core) zapcore.Core {
	o := &omitted{core: core}
	return zapcore.NewSamplerWithOptions(core, sampleFor, sampleMost, 0, zapcore.SamplerHook(o.decided))
}

// omitted counts lines that were left out.
type omitted struct {
	core zapcore.Core

	mu    sync.Mutex // guards what follows
	lines int
	said  time.Time
}

func (o *omitted) decided(e zapcore.Entry, d zapcore.SamplingDecision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d&zapcore.LogDropped != 0 {
		o.lines++
		return
	}
	if o.lines == 0 || e.Time.Sub(o.said) < sampleFor {
		return
	}
	line := zapcore.Entry{Level: zapcore.WarnLevel, Time: e.Time, Message: "log lines were left out: too many said the same"}
	_ = o.core.Write(line, []zapcore.Field{zap.Int("lines", o.lines)}) // as for all lines: there is nowhere else to say it
	o.lines, o.said = 0, e.Time
}
