"""The networks as values, and the host behind a tap."""
