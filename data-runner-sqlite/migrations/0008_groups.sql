-- Executions of one workflow that belong together. `ended_at` is set if and only if the group never changes again.
CREATE TABLE groups (
    id       BLOB NOT NULL PRIMARY KEY,
    ended_at INTEGER,
    body     TEXT NOT NULL
) STRICT;
-- What `load` reads: its cost must not grow with history.
CREATE INDEX groups_active ON groups (id) WHERE ended_at IS NULL;

-- What a key made: `execution` is the id of that, whatever it is.
ALTER TABLE idempotency ADD COLUMN made TEXT NOT NULL DEFAULT 'execution';
