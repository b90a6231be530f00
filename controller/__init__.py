"""isat: a Ryu application that keeps Open vSwitch bridges equal to what is known."""
