-- How this schema is made:
-- * A row is its key, the columns that queries need, and a JSON body: the domain's own type. The body's form belongs
--   to the schema's version; a change that old bodies cannot be read with comes with a migration that rewrites them.
-- * Ids are the 16 bytes of a UUID (their order is the order of creation), times are microseconds since 1970.
-- * A table whose rows are small lies in the order of its key (WITHOUT ROWID). One whose rows are large does not:
--   SQLite would put most of each row on a page of its own.

-- Who may commit, and how often it was done.
CREATE TABLE tenure (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;
INSERT INTO tenure (one, epoch, sequence) VALUES (1, 0, 0);

-- What changes of an execution. `finished_at` is set if and only if its state is terminal.
CREATE TABLE executions (
    id          BLOB    NOT NULL PRIMARY KEY,
    workflow    BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    state       TEXT    NOT NULL,
    body        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
-- The key is part of each index, so each gives a page from the newest to the oldest by itself.
CREATE INDEX executions_by_state ON executions (state);
CREATE INDEX executions_by_workflow ON executions (workflow, state);
CREATE INDEX executions_by_time ON executions (created_at);
-- What `load` reads: its cost must not grow with history.
CREATE INDEX executions_active ON executions (id) WHERE finished_at IS NULL;

-- What never changes of an execution, the whole job among it: written once.
CREATE TABLE execution_specs (
    execution BLOB NOT NULL PRIMARY KEY REFERENCES executions (id),
    body      TEXT NOT NULL
) STRICT;

CREATE TABLE execution_labels (
    key       TEXT NOT NULL,
    value     TEXT NOT NULL,
    execution BLOB NOT NULL REFERENCES executions (id),
    PRIMARY KEY (key, value, execution)
) STRICT, WITHOUT ROWID;
-- What the foreign key needs to find the labels of an execution.
CREATE INDEX execution_labels_of ON execution_labels (execution);

CREATE TABLE attempts (
    execution BLOB    NOT NULL REFERENCES executions (id),
    number    INTEGER NOT NULL,
    body      TEXT    NOT NULL,
    PRIMARY KEY (execution, number)
) STRICT, WITHOUT ROWID;

-- How many executions are in each state, so that nobody has to count a million rows.
CREATE TABLE execution_counts (
    state TEXT    NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO execution_counts (state, count)
VALUES ('queued', 0), ('provisioning', 0), ('starting', 0), ('running', 0), ('success', 0), ('failed', 0), ('cancelled', 0);
CREATE TRIGGER executions_inserted AFTER INSERT ON executions
BEGIN
    UPDATE execution_counts SET count = count + 1 WHERE state = new.state;
END;
CREATE TRIGGER executions_moved AFTER UPDATE OF state ON executions WHEN old.state <> new.state
BEGIN
    UPDATE execution_counts SET count = count - 1 WHERE state = old.state;
    UPDATE execution_counts SET count = count + 1 WHERE state = new.state;
END;

CREATE TABLE workers (
    id            BLOB NOT NULL PRIMARY KEY,
    terminated_at INTEGER,
    body          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX workers_live ON workers (id) WHERE terminated_at IS NULL;
CREATE INDEX workers_terminated ON workers (id) WHERE terminated_at IS NOT NULL;

CREATE TABLE workflows (
    id   BLOB NOT NULL PRIMARY KEY,
    repo TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX workflows_by_name ON workflows (repo, name, id);

CREATE TABLE repos (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key       TEXT    NOT NULL PRIMARY KEY,
    body_hash TEXT    NOT NULL,
    execution BLOB    NOT NULL,
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened; rows are only added. `sequence` is the commit's, `place` counts within it.
CREATE TABLE events (
    sequence  INTEGER NOT NULL,
    place     INTEGER NOT NULL,
    execution BLOB,
    body      TEXT    NOT NULL,
    PRIMARY KEY (sequence, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_execution ON events (execution) WHERE execution IS NOT NULL;

-- One log an attempt: whose it is, where it ends, and whether it is closed (`closed_at`), and how (`gap_reason`).
CREATE TABLE logs (
    id          INTEGER NOT NULL PRIMARY KEY,
    execution   BLOB    NOT NULL,
    number      INTEGER NOT NULL,
    lease       BLOB,
    end_offset  INTEGER NOT NULL DEFAULT 0,
    end_line    INTEGER NOT NULL DEFAULT 1,
    open_stdout INTEGER,
    open_stderr INTEGER,
    closed_at   INTEGER,
    gap_reason  TEXT,
    gap_bytes   INTEGER,
    UNIQUE (execution, number)
) STRICT;
CREATE INDEX logs_open ON logs (execution, number) WHERE closed_at IS NULL;

-- Chunks as they came. Within a log, `id`, `end_offset`, `end_line` and `lowest_line` never fall from one chunk to the
-- next: a range of bytes or lines is a range of one index.
CREATE TABLE log_chunks (
    id                INTEGER NOT NULL PRIMARY KEY,
    log               INTEGER NOT NULL REFERENCES logs (id),
    lowest_line       INTEGER NOT NULL,
    start_offset      INTEGER NOT NULL,
    start_line        INTEGER NOT NULL,
    start_open_stdout INTEGER,
    start_open_stderr INTEGER,
    end_offset        INTEGER NOT NULL,
    end_line          INTEGER NOT NULL,
    end_open_stdout   INTEGER,
    end_open_stderr   INTEGER,
    first_at          INTEGER NOT NULL,
    last_at           INTEGER NOT NULL,
    codec             TEXT    NOT NULL,
    payload           BLOB    NOT NULL
) STRICT;
CREATE INDEX log_chunks_by_offset ON log_chunks (log, end_offset);
CREATE INDEX log_chunks_by_line ON log_chunks (log, end_line);
CREATE INDEX log_chunks_by_lowest_line ON log_chunks (log, lowest_line);
