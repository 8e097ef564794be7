"""The doors: HTTP, the command line, web pages, and the wiring behind them."""
