-- Times of movements that no client can read, which only somebody else than Daftari can have stored, are cut to the
-- bounds that the next migration sets: a constraint is asked at each change of a row, and the books mark every movement.
UPDATE mpesa_movements SET
    happened_at = least(greatest(happened_at, '1900-01-01Z'), '9000-01-01Z'),
    first_seen_at = least(greatest(first_seen_at, '1900-01-01Z'), '9000-01-01Z'),
    settled_at = CASE WHEN settled_at IS NOT NULL THEN least(greatest(settled_at, '1900-01-01Z'), '9000-01-01Z') END,
    closed_at = CASE WHEN closed_at IS NOT NULL THEN least(greatest(closed_at, '1900-01-01Z'), '9000-01-01Z') END
WHERE happened_at NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z' OR first_seen_at NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z'
   OR settled_at NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z' OR closed_at NOT BETWEEN '1900-01-01Z' AND '9000-01-01Z';
