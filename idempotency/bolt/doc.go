// Package bolt is an [idempotency.Store] in a file, on a local disk.
//
// # Guarantees
//
// It survives the restart, and SIGKILL or power loss, of the server at any point:
//
//   - A call that completed before the crash is never run again by a server with this file: its duplicates get the same
//     reply bytes.
//   - A call that was running at the crash is Orphaned for the next process, so that [idempotency.Interceptor] runs it
//     again or, if it is to be executed at most once, answers unknown.
//
// One process at a time has the file. Both hold until the call is forgotten: see [WithMaxAge], [WithEntries] and
// [WithBytes].
//
// # Errors
//
// If the file cannot be written, because the disk is full say, Begin fails, so the call does not run, and Complete
// fails, so the outcome is not answered. It is kept in memory, and written once that is possible again: no restart is
// needed. An outcome that is damaged in the file is data_loss, never another reply. Nothing is repaired.
//
// # Concurrency
//
// A [Store] may be used by several goroutines. All operations that wait are written in one transaction, while the next
// ones gather.
package bolt
