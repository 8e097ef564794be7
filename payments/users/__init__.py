"""Users by the text that the shop's tokens name them by."""
