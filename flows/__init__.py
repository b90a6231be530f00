"""The compiler: from what the controller believes to what a switch should hold."""
