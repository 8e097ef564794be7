"""`python -m api.cli`, for whoever starts a command without looking for its program."""

from api.cli import main

main()
