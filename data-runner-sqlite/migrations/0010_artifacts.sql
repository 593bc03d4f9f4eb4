-- Files that jobs left. Their bytes are elsewhere, by `hash`; one may be several files' own.
CREATE TABLE artifacts (
    id         BLOB NOT NULL PRIMARY KEY,
    execution  BLOB NOT NULL,
    attempt    INTEGER NOT NULL,
    name       TEXT NOT NULL,
    path       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    kept_until INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX artifacts_of ON artifacts (execution, attempt, name, path);
-- What a sweep looks for.
CREATE INDEX artifacts_over ON artifacts (kept_until, id);
CREATE INDEX artifacts_hash ON artifacts (hash, kept_until);
