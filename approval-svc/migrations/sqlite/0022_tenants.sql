-- Browsers and lent authority are bound to a tenant where the person is; null for all tenants.
ALTER TABLE sign_in_codes ADD COLUMN tenant TEXT;
ALTER TABLE sessions ADD COLUMN tenant TEXT;
ALTER TABLE delegations ADD COLUMN tenant TEXT;
