-- Scores that were reported to the broker arrive by themselves; seq says up to
-- where they are here.

ALTER TABLE scores ADD COLUMN IF NOT EXISTS seq UInt64 DEFAULT 0 COMMENT 'place of a report among those to the broker, 0: inserted by somebody else';
