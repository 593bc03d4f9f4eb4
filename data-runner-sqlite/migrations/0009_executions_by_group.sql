-- The executions of a group: few have one, and its place within it never changes.
CREATE INDEX execution_specs_by_group ON execution_specs (json_extract(body, '$.group.group'), execution)
    WHERE json_extract(body, '$.group.group') IS NOT NULL;
