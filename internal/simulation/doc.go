// Package simulation tests the whole protocol in one process: clients and servers, a broker in memory, and a bank whose
// ledger tells what has really happened. A seed makes a plan: who calls whom and how, and which faults strike when. Time is
// virtual. After each life of such a world the invariants are checked, each by its name.
//
// A plan depends on its seed alone. What becomes of it does not: the scheduler of the runtime, and the jitter of clients
// and stores, which draw from the runtime's source, decide who comes first among goroutines that can run at the same time. So a seed
// that fails may need several runs to fail again:
//
//	go test ./internal/simulation -run 'TestSimulation/seed_17$' -count 100
//
// Each guard of the protocol that the invariants rest on is in the table of package mutant, which takes it away and has this
// package find out.
package simulation
