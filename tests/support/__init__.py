"""What tests share: a private Open vSwitch, and waiting for a condition."""
