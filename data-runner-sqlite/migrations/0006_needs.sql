-- What has succeeded for each workflow that starts by the success of others, whether or not it does so at present.
CREATE TABLE needs (
    workflow BLOB NOT NULL PRIMARY KEY,
    body     TEXT NOT NULL
) STRICT;
