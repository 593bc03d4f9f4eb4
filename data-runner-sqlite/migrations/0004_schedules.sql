-- How far each schedule has come. A schedule is its workflow, its cron line and its time zone.
CREATE TABLE schedules (
    workflow BLOB NOT NULL,
    cron     TEXT NOT NULL,
    timezone TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (workflow, cron, timezone)
) STRICT, WITHOUT ROWID;
