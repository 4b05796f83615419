package wire

// Deeper is the scanner of JSON.
var Deeper = deeper

// Decoders undo content encodings.
var Decoders = decoders
