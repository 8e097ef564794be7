"""Cases of the work list: what an operator does about them."""
