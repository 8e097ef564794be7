"""The read side: status, lists, metrics, and the loop that feeds them."""
