"""What must come out right, seen from outside: over HTTP, with the simulator as M-Pesa."""
