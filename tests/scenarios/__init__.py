"""What must come out right, seen from outside: through the doors, with the simulator as M-Pesa."""
