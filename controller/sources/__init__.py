"""The edges: each translates between one library and events or commands."""
