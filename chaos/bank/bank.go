// Package bank is the service that chaos runs call: accounts between which money moves, a ledger of what has happened,
// and registers. It is small, and has what the invariants need: an effect that can be counted, a sum that must not
// change, and values that must be linearizable.
//
// These methods are also the contract for a server of your own, in any language, that is to be driven by a chaos run: see
// docs/chaos.md.
package bank

import (
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Service is the name of the service, unless a run is told another.
const Service = "bank"

// The methods. Bodies are JSON.
func Transfer(service string) rpc.Method[Move, Receipt] {
	return method[Move, Receipt](service, "transfer")
}

// Accounts reads all balances at one moment.
func Accounts(service string) rpc.Method[Nothing, Balances] {
	return method[Nothing, Balances](service, "accounts")
}

// Ledger reads the entries after a number, in their order: at most 1000, none if there are no more.
func Ledger(service string) rpc.Method[After, Entries] {
	return method[After, Entries](service, "ledger")
}

// Put sets a register.
func Put(service string) rpc.Method[Value, Receipt] { return method[Value, Receipt](service, "put") }

// Get reads a register, which is empty at first.
func Get(service string) rpc.Method[Value, Value] { return method[Value, Value](service, "get") }

// CAS sets a register if it has the old value.
func CAS(service string) rpc.Method[Swap, Swapped] { return method[Swap, Swapped](service, "cas") }

func method[Req, Res any](service, name string) rpc.Method[Req, Res] {
	return rpc.Method[Req, Res]{Service: service, Name: name}
}

// Nothing is what there is to say to accounts.
type Nothing struct{}

// A Move is money that goes from one account to another: Amount is positive. The tag, 1 to 100 bytes, names the payload, and is
// in the ledger's entry. Without enough money it is refused with failed_precondition.
type Move struct {
	Tag    string `json:"tag"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Amount int64  `json:"amount"`
}

// A Receipt tells of an effect: Entry is another text for each execution.
type Receipt struct {
	Tag   string `json:"tag"`
	Entry string `json:"entry"`
}

// Balances are those of the accounts, by their numbers from 0. All begin with the same.
type Balances struct {
	Balances []int64 `json:"balances"`
}

// After asks for entries with larger numbers.
type After struct {
	Seq int64 `json:"seq"`
}

// Entries are a part of the ledger.
type Entries struct {
	Entries []Entry `json:"entries"`
}

// An Entry is a move that has taken effect: one for each time that it did. Call is the ID of its call.
type Entry struct {
	Seq    int64  `json:"seq"`
	Call   string `json:"call"`
	Tag    string `json:"tag"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Amount int64  `json:"amount"`
}

// A Value is that of a register.
type Value struct {
	Tag   string `json:"tag"`
	Key   int    `json:"key"`
	Value string `json:"value,omitempty"`
}

// A Swap sets a register to New if it is Old.
type Swap struct {
	Tag string `json:"tag"`
	Key int    `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Swapped tells whether it did.
type Swapped struct {
	Tag     string `json:"tag"`
	Entry   string `json:"entry"`
	Swapped bool   `json:"swapped"`
}

func (m Move) check() error {
	switch {
	case m.Tag == "" || len(m.Tag) > 100:
		return fmt.Errorf("tag must have 1 to 100 bytes, got %d", len(m.Tag))
	case m.From == m.To:
		return fmt.Errorf("from and to must differ, got %d", m.From)
	case m.Amount < 1:
		return fmt.Errorf("amount must be positive, got %d", m.Amount)
	}
	return nil
}
