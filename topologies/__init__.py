"""Networks as values: Mininet, the tests and the documentation build from them.

One file is one network: a drawing, and the value NETWORK; shapes.py makes rings,
meshes, rows, trees, fat trees and islands of any size.  Standard library only, since
Mininet runs under the system's Python, which knows none of the controller's libraries.

    network.py    the types: Network, Switch, Host, Tap, Link
    custom.py     what `mn --custom` takes from the file of a network
    mn.py         what Mininet makes of a network; the only module that imports Mininet
    emulation.py  a network run by Mininet in a process of its own, from any Python
    taphost.py    a host that is a process behind /dev/net/tun
    probe.py      counts and asks at one interface, for measurements
    demo.py       `./run demo`: its stage is stage.py, its steps are story.py, and
                  marks.py sees to it that nothing stays

`mn --custom FILE` executes the text of FILE: without a module name, without __file__,
and from whatever directory.  Each network's file therefore begins with the same three
lines, which let the package be found beside the file that the text was read from; they
do nothing when the file is imported.
"""
