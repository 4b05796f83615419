package bench

// A Hold is what calls in flight take.
type Hold struct{}
