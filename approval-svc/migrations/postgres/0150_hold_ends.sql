-- When a hold is over at the latest, said by its gateway: whoever has not ended it by then is gone.
ALTER TABLE holds ADD COLUMN ends_by_ms BIGINT;
CREATE INDEX holds_by_end ON holds (ends_by_ms) WHERE ended_at_ms IS NULL AND ends_by_ms IS NOT NULL;
