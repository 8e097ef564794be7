"""How hypothesis searches here: without a deadline, because a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")
