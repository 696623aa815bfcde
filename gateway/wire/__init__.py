"""JSON on the wire to types and back: pure functions, one file a dialect."""
