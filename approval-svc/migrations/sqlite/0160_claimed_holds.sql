-- A hold that has claimed does not end by itself any more: nobody is to look for the end of every call that ever ran.
UPDATE holds SET ends_by_ms = NULL WHERE ends_by_ms IS NOT NULL AND hold_id IN (SELECT hold_id FROM claims);
