"""`python -m api.cli`: the `daftari` of this interpreter."""

from api.cli import main

main()
