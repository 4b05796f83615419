package client

import (
	"container/heap"
	"time"
)

// deadlines is a heap of the calls that nothing else ends at their deadlines, that with the earliest first.
type deadlines []*call

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].own.At().Before(d[j].own.At()) }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].rank, d[j].rank = i, j
}

func (d *deadlines) Push(c any) {
	c.(*call).rank = len(*d)
	*d = append(*d, c.(*call))
}

func (d *deadlines) Pop() any {
	last := len(*d) - 1
	c := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return c
}

// expect has a call woken at its deadline. It is called with the mutex locked, as is forgo.
func (p *pending) expect(c *call) {
	heap.Push(&p.deadlines, c)
	if p.alarmAt.IsZero() || c.own.At().Before(p.alarmAt) {
		p.setAlarm(c.own.At())
	}
}

// forgo takes a call back that is among the deadlines. The alarm stays as it is: most calls end long before it.
func (p *pending) forgo(c *call) {
	if c.rank < len(p.deadlines) && p.deadlines[c.rank] == c {
		heap.Remove(&p.deadlines, c.rank)
	}
}

// expire wakes the calls whose deadlines have passed.
func (p *pending) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for now := time.Now(); len(p.deadlines) > 0; {
		first := p.deadlines[0]
		if first.own.At().After(now) {
			p.setAlarm(first.own.At())
			return
		}
		heap.Pop(&p.deadlines)
		first.mu.Lock()
		first.wake()
		first.mu.Unlock()
	}
	p.alarmAt = time.Time{}
}

// stopAlarm has the timer keep nothing alive. Calls that wait have been woken.
func (p *pending) stopAlarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alarm != nil {
		p.alarm.Stop()
	}
}

func (p *pending) setAlarm(at time.Time) {
	p.alarmAt = at
	if p.alarm == nil {
		p.alarm = time.AfterFunc(time.Until(at), p.expire)
	} else {
		p.alarm.Reset(time.Until(at))
	}
}
