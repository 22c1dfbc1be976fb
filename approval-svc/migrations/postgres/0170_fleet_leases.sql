-- Places under limits that hold for all gateways: who has one, and until when it counts.
CREATE TABLE fleet_leases (
    -- Digest of what is counted.
    name          TEXT COLLATE "C" NOT NULL,
    -- One call, or one task.
    holder        TEXT COLLATE "C" NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    -- In a window: it counts for its time, whatever becomes of its call.
    is_counted    BOOLEAN NOT NULL,
    PRIMARY KEY (name, holder)
);
CREATE INDEX fleet_leases_by_holder ON fleet_leases (holder);
CREATE INDEX fleet_leases_by_expiry ON fleet_leases (expires_at_ms);
