-- An identical call that ran before this one was asked for: JSON of `RanBefore`.
ALTER TABLE approvals ADD COLUMN ran_before TEXT;
CREATE INDEX approvals_of_call ON approvals (call_digest, id);
CREATE INDEX claims_of_approval ON claims (approval_id, claimed_at_ms);
