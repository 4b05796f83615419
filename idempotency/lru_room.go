package idempotency

import (
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// tenantCost is about what it takes to know a tenant.
const tenantCost = 160

// admit makes room for a call that is to run, and has it take that.
func (l *LRU) admit(e *entry, who Tenant, now time.Duration) error {
	e.tenant = l.tenant(who)
	if wait := l.makeRoom(e.tenant, 1, e.cost, now); wait > 0 {
		l.stats.ShedForShare++
		return shed("too many recent calls of one caller", wait)
	}
	if wait := l.makeRoom(&l.all, 1, e.cost, now); wait > 0 {
		l.stats.ShedForRoom++
		return shed("too many recent calls", wait)
	}
	if e.tenant != nil && e.tenant.entries == 0 {
		l.tenants[e.tenant.tenant] = e.tenant
		l.all.add(0, tenantCost)
	}
	l.all.add(1, e.cost)
	e.tenant.add(1, e.cost)
	return nil
}

func shed(why string, wait time.Duration) error {
	return rpc.Errorf(rpc.ResourceExhausted, "%s", why).WithExecuted(rpc.ExecutedNo).WithRetryAfter(wait)
}

// tenant returns the part of the calls that are of a tenant: a new one,
// that is not among the tenants yet, if there are none, or nil if a tenant may have
// all.
func (l *LRU) tenant(who Tenant) *part {
	if l.tenants == nil {
		return nil
	}
	if p := l.tenants[who]; p != nil {
		return p
	}
	return &part{
		pair:       ofTenant,
		tenant:     Tenant{User: strings.Clone(who.User), Client: strings.Clone(who.Client)},
		maxEntries: max(1, int(l.share*float64(l.entries))),
		maxBytes:   max(1, int(l.share*float64(l.bytes))),
	}
}

// use makes e the outcome that was used last.
func (l *LRU) use(e *entry, now time.Duration) {
	e.used = now
	for _, p := range [...]*part{&l.all, e.tenant} {
		p.pull(e)
		p.push(e)
	}
}

// grow counts bytes that are added to e.
func (l *LRU) grow(e *entry, bytes int) {
	e.cost += bytes
	l.all.add(0, bytes)
	e.tenant.add(0, bytes)
}

// remove forgets e.
func (l *LRU) remove(e *entry) {
	l.index.remove(e)
	for _, p := range [...]*part{&l.all, e.tenant} {
		p.pull(e)
		p.add(-1, -e.cost)
	}
	if e.tenant != nil && e.tenant.entries == 0 {
		delete(l.tenants, e.tenant.tenant)
		l.all.add(0, -tenantCost)
	}
}

// expire forgets all outcomes past the maximum age.
func (l *LRU) expire(now time.Duration) {
	for e := l.all.oldest; e != nil && now-e.used >= l.maxAge; e = l.all.oldest {
		l.remove(e)
		l.stats.EvictedForAge++
	}
}

// makeRoom forgets outcomes of p past the minimum age until there is room in p for
// more entries and bytes. It returns 0, or, if there is none, after what time to
// try again.
func (l *LRU) makeRoom(p *part, entries, bytes int, now time.Duration) time.Duration {
	for !p.fits(entries, bytes) {
		if p.oldest == nil {
			return askAgainAfter // all are running
		}
		if age := now - p.oldest.used; age < l.minAge {
			return l.minAge - age
		}
		l.remove(p.oldest)
		l.stats.EvictedForRoom++
	}
	return 0
}
