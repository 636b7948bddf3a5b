-- What people or judges say of answers; anybody may insert. The latest word on
-- a job counts. Experiments are compared by it.

CREATE TABLE IF NOT EXISTS scores
(
    ts      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    tenant  LowCardinality(String),
    job_id  String,
    quality Float64 COMMENT '0 is useless, 1 is best',
    source  LowCardinality(String) COMMENT 'who says so'
)
ENGINE = MergeTree
ORDER BY (tenant, job_id, ts);
