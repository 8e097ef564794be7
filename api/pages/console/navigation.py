"""The sections of the console: what each is, and who may use it. Navigation and access are made from this one table."""

from dataclasses import dataclass

from api.issued_tokens import Role

STAFF = frozenset({Role.OPERATOR, Role.AUDITOR, Role.ANALYST})
"""Whoever has one of these roles may sign in."""


@dataclass(frozen=True)
class Section:
    """A section, at the page of `endpoint`; `about` says in a sentence what one does there."""

    title: str
    endpoint: str
    roles: frozenset[Role]
    about: str


DASHBOARD = Section(
    "Dashboard", "console.show_dashboard", STAFF, "How payments are doing, and what your role allows."
)
CASES = Section(
    "Cases",
    "console.show_work",
    frozenset({Role.OPERATOR, Role.AUDITOR}),
    "What waits for a person: refunds, payments in doubt, unmatched money. Operators decide, auditors read.",
)
PAYMENTS = Section(
    "Payments",
    "console.show_payments",
    frozenset({Role.OPERATOR, Role.AUDITOR}),
    "Find a payment, see its money and its story. Operators see what to do next, auditors step through its events.",
)
BOOKS = Section(
    "Books",
    "console.show_books",
    frozenset({Role.AUDITOR}),
    "The trial balance of any period, the close of a day, and the statement of each account.",
)
STATEMENTS = Section(
    "Statements",
    "console.show_statements",
    frozenset({Role.OPERATOR, Role.AUDITOR}),
    "M-Pesa's statements against our books, and the differences. Operators upload, auditors read.",
)
WEBHOOKS = Section(
    "Webhooks",
    "console.show_webhooks",
    frozenset({Role.OPERATOR, Role.AUDITOR}),
    "Where shops' own servers are told of payments, and what came of each message. Operators change, auditors read.",
)
BLOCKS = Section(
    "Blocks",
    "console.show_blocks",
    frozenset({Role.AUDITOR}),
    "The signed blocks over the log, and what the last verification runs found.",
)
ACCESS_LOG = Section(
    "Access log",
    "console.show_access_log",
    frozenset({Role.AUDITOR}),
    "Who decided what, who read whose personal data, and who was refused.",
)

SECTIONS = (DASHBOARD, CASES, PAYMENTS, BOOKS, STATEMENTS, WEBHOOKS, BLOCKS, ACCESS_LOG)
"""In the order of the navigation."""


def sections_of(roles: frozenset[Role]) -> list[Section]:
    """Return the sections that someone with these roles may use."""
    return [section for section in SECTIONS if not section.roles.isdisjoint(roles)]
