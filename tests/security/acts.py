"""How the API refuses an operator."""

from typing import Any


def refused(answer: Any) -> tuple[int, str]:
    """Return an answer's status and error code."""
    return answer.status_code, answer.json()["error_code"]


OWN = (403, "OWN_PAYMENT")
NOT_ALONE = (403, "SECOND_PERSON_NEEDED")
