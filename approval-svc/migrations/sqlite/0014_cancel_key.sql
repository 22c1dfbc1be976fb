-- Names a live call to its own client, who may cancel it by a message that arrives anywhere. See `CallEnvelope::cancel_key`.
ALTER TABLE holds ADD COLUMN cancel_key TEXT;
CREATE INDEX holds_by_cancel_key ON holds (cancel_key) WHERE ended_at_ms IS NULL AND cancel_key IS NOT NULL;
