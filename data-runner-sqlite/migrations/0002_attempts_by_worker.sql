-- Which attempts a worker had: what a machine cost is shared among them. The body names the worker already, so the
-- column is derived from it, for old rows too.
ALTER TABLE attempts ADD COLUMN worker TEXT GENERATED ALWAYS AS (json_extract(body, '$.worker')) VIRTUAL;
CREATE INDEX attempts_by_worker ON attempts (worker);
