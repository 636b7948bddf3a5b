-- What a job asked for, as far as routers look at it: so that it can be routed
-- again (sluice simulate). Rows from before have zeros: not known.

ALTER TABLE jobs
    ADD COLUMN IF NOT EXISTS body_bytes UInt32 COMMENT 'of the request' AFTER total_ms,
    ADD COLUMN IF NOT EXISTS max_tokens UInt32 COMMENT 'most output tokens asked for, 0: not said' AFTER body_bytes,
    ADD COLUMN IF NOT EXISTS user_region LowCardinality(String) COMMENT 'where the user is' AFTER max_tokens,
    ADD COLUMN IF NOT EXISTS needs UInt16 COMMENT 'what the request asks of a model, in bits: streaming, tools, vision, audio, JSON schema, thinking, prompt caching' AFTER user_region;
