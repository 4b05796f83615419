package wire

// Deeper is the scanner of JSON.
var Deeper = deeper
