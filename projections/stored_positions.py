"""SQL that stores how far followers have got, in the commit of what they did there."""

from ledger.store.locks import LOCK_KEY

STORE_POSITIONS = """
INSERT INTO follower_positions (name, origin, position)
SELECT name, %s::smallint, position FROM unnest(%s::text[], %s::bigint[]) AS reached (name, position) ORDER BY name
ON CONFLICT (name, origin) DO UPDATE SET position = greatest(follower_positions.position, excluded.position)
"""
# A position that somebody else holds stays: who holds it is active for its name, and stores how far that one got.
# The arrays are read by SELECT so that a plan is kept: PostgreSQL would make one anew for each number of names.
STORE_FREE_POSITIONS = """
WITH passed AS (SELECT %s::smallint AS origin, name, position
                FROM unnest((SELECT %s::text[]), (SELECT %s::bigint[])) AS passed (name, position)),
     free AS (SELECT held.name FROM follower_positions AS held JOIN passed USING (name, origin)
              ORDER BY held.name FOR UPDATE OF held SKIP LOCKED)
INSERT INTO follower_positions (name, origin, position)
SELECT name, origin, position FROM passed
WHERE name IN (SELECT name FROM free) OR NOT EXISTS (
    SELECT FROM follower_positions AS held WHERE held.name = passed.name AND held.origin = passed.origin)
ORDER BY name
ON CONFLICT (name, origin) DO UPDATE SET position = greatest(follower_positions.position, excluded.position)
RETURNING name
"""
# The lock of each view and its new position in one statement. One whose lock somebody holds stays as it is, and one
# that was moved beyond what was read here; a row that is being moved is looked at again as it is then.
MOVE_ON = f"""
UPDATE follower_positions AS held SET position = step.last
FROM unnest((SELECT %s::text[]), (SELECT %s::bigint[]), (SELECT %s::bigint[])) AS step (name, read_until, last)
WHERE held.name = step.name AND held.origin = %s AND held.position <= step.read_until
  AND pg_try_advisory_xact_lock({LOCK_KEY.replace("%s", "held.name")})
RETURNING held.name
"""  # noqa: S608 - made of names of our own
