-- Messages to addresses outside. `settled_at` is set if and only if nothing more is tried.
CREATE TABLE deliveries (
    id         BLOB NOT NULL PRIMARY KEY,
    execution  BLOB NOT NULL,
    settled_at INTEGER,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- What `load` reads: its cost must not grow with history.
CREATE INDEX deliveries_pending ON deliveries (id) WHERE settled_at IS NULL;
