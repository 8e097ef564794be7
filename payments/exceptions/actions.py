"""The endpoints through which an operator acts on a case."""

from dataclasses import dataclass

from payments.exceptions.next_steps import Kind, Means
from payments.exceptions.work_list import Case

_OF_REFUNDS = {
    Kind.REFUND_DUE: ("approve", "refuse", "returned"),
    Kind.REFUND_HELD: ("approve", "returned"),
    Kind.REFUND_IN_DOUBT: ("returned", "not-sent"),
}
_FIELDS = {
    "approve": None,
    "retry": None,
    "withdraw": None,
    "on": "reason",
    "refuse": "reason",
    "assign": "session",
}
"""The member of the body that an action takes; "note" where it is not named here."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing an operator can do: POST to `path`, with a text in the member `field` where there is one."""

    name: str
    path: str
    field: str | None


def actions_of(case: Case) -> list[Action]:
    """Return what can be done about a case, the usual first."""
    found: list[Action] = []
    for means in case.means:
        if means == Means.REFUND:
            folder = f"/api/payments/refunds/{case.session_id}/{case.number}"
            found += [_action(name, folder) for name in _OF_REFUNDS[case.kind]]
        elif means == Means.SWITCH_ON:
            found.append(_action("on", f"/api/switches/{case.case_id}"))
        else:
            name = "refund" if means == Means.MONEY_BACK else str(means)
            found.append(_action(name, f"/api/work-list/{case.kind}/{case.case_id}"))
    return found


def _action(name: str, folder: str) -> Action:
    return Action(name, f"{folder}/{name}/", _FIELDS.get(name, "note"))
