"""How notifications leave: an email over SMTP, or a webhook."""

import json
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from payments.destinations import TIMEOUT_SECONDS, Destination, NotTaken, post

SUBMISSION_PORT = 587
IMPLICIT_TLS_PORT = 465
"""RFC 8314: submission over TLS from the start."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""To these alone mail goes without TLS."""


def channel_of(text: str) -> Destination:
    """Return the destination that a setting names: smtp://…, smtps://… or the address of a webhook."""
    parts = urlsplit(text)
    if parts.scheme in ("smtp", "smtps"):
        return Destination("email", partial(_mail, parts))
    return Destination("webhook", partial(post, text))


def _mail(server: SplitResult, payload: bytes) -> None:
    query, told = parse_qs(server.query), json.loads(payload)
    mail = EmailMessage()
    mail["From"], mail["To"] = query["from"][0], ", ".join(query["to"])
    mail["Subject"], mail["Date"] = told["subject"], formatdate()
    mail["Message-ID"] = make_msgid(domain=query["from"][0].rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(told["text"])
    host, is_local = server.hostname or "", server.hostname in LOCAL_HOSTS
    tls = ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(host, server.port or IMPLICIT_TLS_PORT, timeout=TIMEOUT_SECONDS, context=tls)
        if server.scheme == "smtps"
        else smtplib.SMTP(host, server.port or SUBMISSION_PORT, timeout=TIMEOUT_SECONDS)
    ) as session:
        session.ehlo()
        if server.scheme == "smtp" and not is_local:
            if not session.has_extn("starttls"):
                raise NotTaken("the mail server offers no STARTTLS")
            session.starttls(context=tls)
        if server.username:
            session.login(unquote(server.username), unquote(server.password or ""))
        session.send_message(mail)
