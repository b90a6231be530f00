"""The edges, each against the real thing it translates."""
