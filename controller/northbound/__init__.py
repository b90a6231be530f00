"""For those who ask: a local socket, and answers made from the view."""
