"""Networks that Mininet runs, on an Open vSwitch of the test's own."""
