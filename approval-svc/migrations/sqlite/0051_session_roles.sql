-- A browser may act for somebody of another role than an approver: who breaks glass, who stops things, who only looks.
ALTER TABLE sign_in_codes ADD COLUMN role TEXT NOT NULL DEFAULT 'approver';
ALTER TABLE sessions ADD COLUMN role TEXT NOT NULL DEFAULT 'approver';
