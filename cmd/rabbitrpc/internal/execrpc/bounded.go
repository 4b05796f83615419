package execrpc

import "bytes"

// A bounded keeps what a program writes, up to a limit. What is beyond that it drops.
type bounded struct {
	limit  int
	onOver func() // called once, when there is more

	kept bytes.Buffer // to read when the program has ended; not embedded, or io.Copy would find its ReadFrom
	over bool         // the same
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	b.kept.Write(p[:min(len(p), room)])
	if len(p) > room && !b.over {
		b.over = true
		b.onOver()
	}
	return len(p), nil
}

const (
	maxHead    = 1 << 10  // the first line is in it
	maxTail    = 16 << 10 // the last line is, with the details of an error
	maxExcerpt = 2 << 10  // of the tail, in the log
)

// A said keeps the beginning and the end of what a program writes to standard error.
type said struct{ head, tail []byte } // to read when the program has ended

func (s *said) Write(p []byte) (int, error) {
	s.head = append(s.head, p[:min(len(p), maxHead-len(s.head))]...)
	s.tail = append(s.tail, p...)
	if over := len(s.tail) - maxTail; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	return len(p), nil
}

// excerpt is the end, which is where a program says why it gives up.
func (s *said) excerpt() string {
	if over := len(s.tail) - maxExcerpt; over > 0 {
		return "... " + string(s.tail[over:])
	}
	return string(s.tail)
}
