"""The kernel's view of every network namespace within reach, as tables that follow it.

A package of its own: standard library only, nothing of isat is imported.  It runs as a
process (`python -m controller.netlink`, `isat mirror`), so that a burst of kernel
messages and the rights to read them stay out of the controller.
"""
