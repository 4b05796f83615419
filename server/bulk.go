package server

import (
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// bulk counts requests whose callers have so many under way that answers may wait for each other. While there are no others the
// session does more at once. It is the consumer's own.
type bulk int

const (
	bulkFrom = 64 // requests in a row
	bulkFor  = 10 * time.Millisecond
)

// add reports whether this request, and those before it, are such.
func (b *bulk) add(d *conn.Delivery) bool {
	if !wire.InBulk(&d.Message) {
		*b = 0
		return false
	}
	*b = min(*b+1, bulkFrom)
	return *b == bulkFrom
}
