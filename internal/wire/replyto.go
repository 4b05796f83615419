package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const directReplyTo = "amq.rabbitmq.reply-to."

// A ReplyKind is what a reply-to address names, as far as its form tells.
type ReplyKind uint8

// The kinds of reply-to addresses.
const (
	ReplyNone   ReplyKind = iota // nothing that may be answered
	ReplyServer                  // a queue that the broker has named: its owner's own
	ReplyDirect                  // RabbitMQ's direct reply-to
	ReplyNamed                   // another name: to be answered only if it is an exclusive queue
)

// KindOfReplyTo tells what kind of address s is. A reply must never get into a queue that holds something else: this
// server's requests, those of another service, or the work of a stranger.
func KindOfReplyTo(s string) ReplyKind {
	switch {
	case s == "" || !printable(s):
		return ReplyNone
	case strings.HasPrefix(s, "amq.gen-"):
		return ReplyServer
	case strings.HasPrefix(s, directReplyTo) && len(s) > len(directReplyTo):
		return ReplyDirect
	case strings.HasPrefix(s, "amq.") || strings.HasPrefix(s, prefix):
		return ReplyNone
	default:
		return ReplyNamed
	}
}

func answerable(replyTo string, src Source) bool {
	switch KindOfReplyTo(replyTo) {
	case ReplyServer:
		return true
	case ReplyDirect, ReplyNamed:
		return src.Plain
	}
	return false
}

func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return printableRunes(s) // mostly there is none
		}
	}
	return true
}

func printableRunes(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
