"""`daftari evidence`: what a third party can check of a payment."""

from pathlib import Path

import click

from api.cli.export_customer import new_file
from api.cli.failures import is_text


@click.command(short_help="Write the evidence pack of a payment.")
@click.argument("payment", callback=is_text)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The ZIP file to make, which must not exist.  [default: evidence-SESSION.zip]",
)
@click.option(
    "--head", type=click.IntRange(1, 2**63 - 1), help="The number of a signed head; the last one by default."
)
@click.option(
    "--by",
    type=click.IntRange(1, 2**63 - 1),
    required=True,
    metavar="USER",
    help="The number of the person who takes it.",
)
@click.option(
    "--reason", help="Why, for the audit log. It is kept for ever: give no phone number and no name."
)
def evidence(payment: str, path: Path | None, head: int | None, by: int, reason: str | None) -> None:
    """Write all that is known of PAYMENT (a session id, receipt or order number) into a ZIP file.

    It holds the events, M-Pesa's messages, what was sent to M-Pesa, the order, refunds, an account in plain words,
    proofs to a signed head, and verify.py, which checks it offline. It holds personal data, unless they were erased;
    the audit log records who took it. The same payment under the same head gives the same bytes.

    \b
    Examples
      daftari evidence UKRYR6ZCWC --by 41 -o pack.zip
      python verify.py pack.zip --key 5f3a…
    """
    from api.cli.opened import open_database
    from api.cli.replay import session_of
    from api.shop_wiring import build_builtin_shop, build_shops
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault
    from payments.evidence.evidence_pack import EvidencePacks
    from payments.refunds.notes import parse_note

    note = "" if reason is None else parse_note(reason, "reason")
    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        session_id = session_of(database, payment)
        builtin_shop = build_builtin_shop(settings, database, vault)
        shops = build_shops(settings, database, vault, builtin_shop)
        pack = EvidencePacks(database, vault, shops.order_of).pack(session_id, head)
        path = path or Path(f"evidence-{session_id}.zip")
        with new_file(path) as file:
            AuditLog(database, vault.keys).record(
                None,
                "access",
                actor=f"cli:user:{by}",
                subject=f"session:{session_id}",
                reason=note,
                details={"what": "evidence", "session_id": str(session_id)},
            )
            file.write(pack.content)
    click.echo(f"{path} holds the evidence of session {session_id}.")
    if pack.forged:
        versions = ", ".join(map(str, pack.forged))
        click.echo(
            f"NOT GENUINE: event {versions} of it is not as Daftari wrote it. The pack says so, and verify.py ends "
            "with 3. Run `daftari verify`, and see docs/running.md.",
            err=True,
        )
