"""Events that status rows call for, and that the log does not lead to: a transaction of anyone may hold it back.

A status row is written with its event, so that it is there whatever else runs. It only points: the handler loads the
session. Events between the position of an event processor and the horizon are left to it.
"""

from datetime import timedelta

LEFT_OVER_AFTER = timedelta(seconds=5)
"""So long the event processor has before its events are looked for by rows."""

# A failure, in whatever state, is retried or shown to an operator by the event processor, at its own pace.
_EVENTS = """
SELECT event.session_id, event.version, event.topic, event.state::text AS state, event.position, event.recorded_at
FROM payment_sessions AS session JOIN payment_events AS event USING (session_id)
WHERE session.updated_at <= %(before)s
  AND event.topic = ANY(%(topics)s) AND event.origin = %(origin)s AND event.position > %(after)s
  AND NOT EXISTS (SELECT FROM follower_failures AS failure
                  WHERE failure.name = %(name)s
                    AND (failure.session_id, failure.version) = (event.session_id, event.version))
"""
_IN_ORDER = "ORDER BY event.position LIMIT %(limit)s"

PAID_WITHOUT_ORDER = f"""{_EVENTS}
  AND session.session_status = 'paid' AND NOT event.position BETWEEN %(followed)s + 1 AND %(horizon)s - 1
{_IN_ORDER}"""

# Most refunds that are due wait for a person, so only those are looked at that the event processor cannot read yet.
REFUND_NOT_DECIDED = f"""{_EVENTS}
  AND session.refund_due_cents > 0 AND event.position >= %(horizon)s
  AND NOT EXISTS (SELECT FROM payment_events AS decided
                  WHERE decided.session_id = event.session_id AND decided.version > event.version
                    AND decided.state->>'refund' = event.state->>'refund')
{_IN_ORDER}"""
