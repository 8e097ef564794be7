"""A checkout client on what openapi-python-client makes of /openapi.json: `python checkout_client.py URL TOKEN`."""

import json
import sys
from uuid import uuid4

from daftari_client import AuthenticatedClient
from daftari_client.api.sessions import (
    create_session,
    initiate_payment,
    list_sessions,
    show_session,
    show_session_status,
)
from daftari_client.models import (
    DeliveryDetails,
    Error,
    InitiateRequest,
    NewSession,
    Prompt,
    Session,
    SessionList,
    SessionState,
    SessionStatus,
)


def main(url: str, token: str) -> None:
    """Create a session, send its prompt, and print what is shown of it; what may be left out of bodies is left out."""
    client = AuthenticatedClient(base_url=url, token=token)
    delivery = DeliveryDetails("John Doe", "0712345678", 1, 5, "123 Main Street, Apartment 4B")
    created = create_session.sync(client=client, body=NewSession(delivery), idempotency_key=str(uuid4()))
    assert isinstance(created, Session)
    prompt = initiate_payment.sync(created.session_id, client=client, body=InitiateRequest())
    assert isinstance(prompt, Prompt)
    status = show_session_status.sync(created.session_id, client=client)
    assert isinstance(status, SessionStatus)
    listed = list_sessions.sync(client=client, status=SessionState.PAYMENT_INITIATED)
    assert isinstance(listed, SessionList)
    missing = show_session.sync(uuid4(), client=client)
    assert isinstance(missing, Error)
    sys.stdout.write(
        json.dumps(
            {
                "amount": created.total_amount,
                "prompt": prompt.status,
                "status": status.session_status,
                "receipt": status.receipt,
                "listed": [str(entry.session_id) for entry in listed.results],
                "created": str(created.session_id),
                "refused": missing.error_code,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
