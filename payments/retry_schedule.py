"""How long to pause between one try and the next."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The pauses after the first try, the second, and so on."""

    pauses: tuple[timedelta, ...]

    @classmethod
    def of_seconds(cls, *seconds: float) -> "RetrySchedule":
        """Return the schedule with these pauses."""
        return cls(tuple(timedelta(seconds=pause) for pause in seconds))

    @classmethod
    def doubling(cls, first: timedelta, longest: timedelta) -> "RetrySchedule":
        """Return the schedule whose pauses double until they reach the longest one."""
        pauses = [first]
        while timedelta(0) < pauses[-1] < longest:
            pauses.append(min(pauses[-1] * 2, longest))
        return cls(tuple(pauses))

    @property
    def max_tries(self) -> int:
        """How many tries there are if no pause is repeated: one before each pause, and the last."""
        return len(self.pauses) + 1

    def pause_after(self, tries: int) -> timedelta:
        """Return the pause after so many tries, at least one; the last pause repeats for ever."""
        return self.pauses[min(tries, len(self.pauses)) - 1]
