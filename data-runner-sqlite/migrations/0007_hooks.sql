-- Names of webhooks' deliveries that were acted upon. Old ones are forgotten when new ones come.
CREATE TABLE hooks (
    key TEXT NOT NULL PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX hooks_at ON hooks (at);
