"""One idempotency key, one effect: a request runs once, and its answer is given again."""

from collections.abc import Callable
from typing import TypeVar

from payments.idempotency.kept_answers import IdempotencyStore, Replay

Answer = TypeVar("Answer")


def answer_once(
    store: IdempotencyStore,
    user_id: int,
    key: str,
    fingerprint: str,
    run: Callable[[], Answer],
    kept_as: Callable[[Answer], tuple[int, str] | None],
) -> Answer | Replay:
    """Run a request under its key, or return the answer that was given under it.

    `kept_as` returns the status and the body under which an answer is kept, or None for one that is of the moment:
    then, and where `run` raises, the key is set free. Raises what `IdempotencyStore.claim` and `run` raise.
    """
    claim = store.claim(user_id, key, fingerprint)
    if isinstance(claim, Replay):
        return claim
    was_kept = False
    try:
        answer = run()
        kept = kept_as(answer)
        if kept is not None:
            store.finish(user_id, key, *kept)
            was_kept = True
    finally:
        if not was_kept:
            store.release(user_id, key)
    return answer
