// Package report shows a chaos run to people: as one HTML page that needs nothing but a browser ([HTML]), as text for
// terminals and CI ([Text]), and as a line while the run goes on ([Progress]).
//
// A page fetches nothing, and nothing in a history can make it run or show anything else than text: errors and names come
// from processes that were made to fail.
//
// # Concurrency
//
// HTML and Text only read the history; a Progress is for one goroutine.
package report
