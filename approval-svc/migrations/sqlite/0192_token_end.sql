-- A token may end by itself.
ALTER TABLE tokens ADD COLUMN expires_at_ms INTEGER;
