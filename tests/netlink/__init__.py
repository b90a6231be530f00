"""The netlink mirror: what it is made of, and what it says of real namespaces."""
