package chaos

import "time"

// maxCopied bounds what a pipe keeps to make duplicates of.
const maxCopied = 16 << 20

// A message is a method that a fault is at work on, with the header and the body that belong to it.
type message struct {
	by      *Injection
	content bool   // a header and a body belong to it
	header  bool   // has come
	body    uint64 // bytes that are still to come
	size    int    // of all that has come
	copy    []byte
	noCopy  bool // it is too large
}

// meet looks whether a fault has waited for the method in f.
func (p *pipe) meet(f *frame, now *faults) {
	if len(p.at) > 0 {
		p.forget(f.channel) // the rest of a message, if there is one, does not come any more
	}
	if len(now.active) == 0 {
		return
	}
	var by *Injection
	for _, in := range on[methodFault](p, now) {
		if in.method != 0 && in.method == f.method && in.meet() && by == nil {
			by = in
		}
	}
	if by != nil {
		p.at[f.channel] = &message{by: by, content: f.method.hasContent()}
	}
}

func (p *pipe) forget(channel uint16) {
	if m := p.at[channel]; m != nil {
		p.copied -= len(m.copy)
		delete(p.at, channel)
	}
}

// treat does to x what the fault on its channel says, and sends it behind what is held there.
func (p *pipe) treat(x piece) {
	channel, e := x.frame.channel, entry{data: x.data, part: !x.last}
	m := p.at[channel]
	if m == nil {
		p.hold(channel, e)
		return
	}
	starts := m.size == 0
	over := m.add(x)
	switch f := m.by.fault.(type) {
	case Drop:
		if starts {
			m.by.bite()
		}
	case Delay:
		m.by.bite()
		e.by, e.due = m.by, time.Now().Add(f.For)
		p.hold(channel, e)
		over = true // what comes next is held behind it
	case Duplicate:
		p.hold(channel, e)
		if p.keep(m, x.data); over && !m.noCopy {
			m.by.bite()
			p.hold(channel, entry{data: m.copy})
		}
	case Cut:
		p.cut(channel, m, f.Bytes, e, over)
	}
	if over {
		p.forget(channel)
	}
}

// add takes note of the next piece, and reports whether it is the last.
func (m *message) add(x piece) (over bool) {
	m.size += len(x.data)
	if x.first {
		switch x.frame.kind {
		case headerFrame:
			m.header, m.body = true, x.frame.body
		case bodyFrame:
			m.body -= min(m.body, uint64(x.frame.size-envelope))
		}
	}
	return x.last && (!m.content || m.header && m.body == 0)
}

// keep adds to the copy of m.
func (p *pipe) keep(m *message, data []byte) {
	if m.noCopy || p.copied+len(data) > maxCopied {
		p.copied -= len(m.copy)
		m.copy, m.noCopy = nil, true
		return
	}
	m.copy = append(m.copy, data...)
	p.copied += len(data)
}

// cut sends e on, up to the byte at which the link is to end.
func (p *pipe) cut(channel uint16, m *message, at int, e entry, over bool) {
	left := at - (m.size - len(e.data)) // of the bytes that pass
	if at == Whole && over {
		left = len(e.data)
	}
	if left < 0 || left > len(e.data) { // later, or done already
		p.hold(channel, e)
		return
	}
	if left > 0 {
		p.hold(channel, entry{data: e.data[:left], part: e.part || left < len(e.data)})
	}
	p.hold(channel, entry{cut: m.by})
}
