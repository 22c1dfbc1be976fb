-- Which gateway told of a page, and when by that gateway's clock: two of its workers may tell in another order than they saw.
ALTER TABLE inventory_pages ADD COLUMN told_by TEXT;
ALTER TABLE inventory_pages ADD COLUMN told_at_ms BIGINT;
