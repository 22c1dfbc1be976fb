-- The words by which approvals of the past are found: of the call as asked, of its target and the reason of its decision, and of
-- who asked and who decided. Those of `asked` go with the arguments when these are erased.
CREATE TABLE approval_words (
    field       TEXT COLLATE "C" NOT NULL CHECK (field IN ('asked', 'named', 'who')),
    -- In small letters and cut. Empty: this approval has words that are not kept, and must be looked at itself.
    word        TEXT COLLATE "C" NOT NULL,
    approval_id TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    PRIMARY KEY (field, word, approval_id)
);
CREATE INDEX approval_words_of ON approval_words (approval_id, field);

INSERT INTO approval_words (field, word, approval_id) SELECT 'asked', '', id FROM approvals;
INSERT INTO approval_words (field, word, approval_id) SELECT 'named', '', id FROM approvals;
INSERT INTO approval_words (field, word, approval_id) SELECT 'who', '', id FROM approvals;
