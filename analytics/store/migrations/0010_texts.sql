-- What was said in attempts, for tenants that keep it: redacted before it came
-- here. A row goes when its time is up, or on demand.

CREATE TABLE IF NOT EXISTS texts
(
    seq          UInt64 COMMENT 'place in the stream of texts' CODEC(Delta, LZ4),
    ts           DateTime64(6, 'UTC') COMMENT 'when that stream stored it, just before the attempt ended' CODEC(Delta, LZ4),
    expires_at   DateTime('UTC') COMMENT 'until when it is kept',
    tenant       LowCardinality(String),
    job_id       String,
    attempt      UInt16,
    route        LowCardinality(String),
    pool         LowCardinality(String),
    model        LowCardinality(String),
    status       LowCardinality(String) COMMENT 'of the attempt',
    prompt       String COMMENT 'what each role said' CODEC(ZSTD(3)),
    answer       String COMMENT 'empty: none came' CODEC(ZSTD(3)),
    prompt_bytes UInt32 COMMENT 'before it was redacted and cut',
    answer_bytes UInt32 COMMENT 'before it was redacted and cut',
    redactions   Map(LowCardinality(String), UInt32) COMMENT 'what was left out, by kind',

    INDEX places seq TYPE minmax GRANULARITY 1,
    INDEX prompt_words lowerUTF8(prompt) TYPE tokenbf_v1(65536, 4, 0) GRANULARITY 1,
    INDEX answer_words lowerUTF8(answer) TYPE tokenbf_v1(65536, 4, 0) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (tenant, job_id, attempt)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 512, merge_with_ttl_timeout = 3600;
