-- Statements end with a semicolon at the end of a line. Every statement must
-- be able to run again (I5).

CREATE TABLE IF NOT EXISTS attempts
(
    seq                UInt64 COMMENT 'ledger sequence of the record that ended the attempt' CODEC(Delta, LZ4),
    ts                 DateTime64(6, 'UTC') COMMENT 'when the ledger stored that record' CODEC(Delta, LZ4),
    job_id             String,
    attempt            UInt16,
    tenant             LowCardinality(String),
    class              LowCardinality(String),
    endpoint           LowCardinality(String),
    route              LowCardinality(String),
    strategy           LowCardinality(String),
    pool               LowCardinality(String),
    provider           LowCardinality(String),
    model              LowCardinality(String),
    region             LowCardinality(String),
    status             LowCardinality(String),
    error_code         LowCardinality(String),
    http_status        UInt16,
    input_tokens       UInt64 COMMENT 'uncached',
    cache_read_tokens  UInt64,
    cache_write_tokens UInt64,
    output_tokens      UInt64 COMMENT 'without reasoning',
    reasoning_tokens   UInt64,
    usage_source       LowCardinality(String) COMMENT 'provider or estimated',
    cost_nano_usd      Nullable(Int64) COMMENT 'NULL: not known',
    price_version      LowCardinality(String),
    queue_ms           UInt32,
    ttft_ms            UInt32 COMMENT '0: no first token',
    latency_ms         UInt32,
    batch_id           LowCardinality(String),
    experiment         LowCardinality(String),
    variant            LowCardinality(String),
    labels             Map(LowCardinality(String), String),

    decision_sequence    UInt64 COMMENT 'what the picker turned on',
    `candidates.pool`    Array(LowCardinality(String)),
    `candidates.model`   Array(LowCardinality(String)),
    `candidates.weight`  Array(UInt32),
    `candidates.depth`   Array(UInt32) COMMENT 'queued and running at the pool',
    `candidates.score`   Array(Float64) COMMENT 'lower is better',
    `candidates.excluded` Array(LowCardinality(String)) COMMENT 'empty: eligible',

    cost_usd Nullable(Decimal(38, 9)) ALIAS toDecimal128(cost_nano_usd, 9) / 1000000000,

    PROJECTION hourly
    (
        SELECT
            toStartOfHour(ts), tenant, pool, provider, model, route, class, status,
            count(), count(cost_nano_usd), sum(cost_nano_usd),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
            sum(output_tokens), sum(reasoning_tokens),
            sum(queue_ms), sum(latency_ms), max(seq)
        GROUP BY toStartOfHour(ts), tenant, pool, provider, model, route, class, status
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (toStartOfHour(ts), tenant, pool, model, seq)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS jobs
(
    seq           UInt64 COMMENT 'ledger sequence of the terminal record' CODEC(Delta, LZ4),
    submitted_at  DateTime64(6, 'UTC') CODEC(Delta, LZ4),
    finished_at   DateTime64(6, 'UTC') COMMENT 'when the ledger stored the terminal record' CODEC(Delta, LZ4),
    job_id        String,
    tenant        LowCardinality(String),
    class         LowCardinality(String),
    route         LowCardinality(String),
    status        LowCardinality(String),
    error_code    LowCardinality(String),
    attempts      UInt16,
    cost_nano_usd Nullable(Int64) COMMENT 'of all attempts; NULL: one of them is not known',
    wait_ms       UInt32 COMMENT 'submission to the start of the last attempt',
    total_ms      UInt32,
    batch_id      LowCardinality(String),
    labels        Map(LowCardinality(String), String),

    cost_usd Nullable(Decimal(38, 9)) ALIAS toDecimal128(cost_nano_usd, 9) / 1000000000,

    PROJECTION hourly
    (
        SELECT
            toStartOfHour(finished_at), tenant, route, class, status,
            count(), count(cost_nano_usd), sum(cost_nano_usd),
            sum(attempts), sum(wait_ms), sum(total_ms), max(seq)
        GROUP BY toStartOfHour(finished_at), tenant, route, class, status
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(finished_at)
ORDER BY (toStartOfHour(finished_at), tenant, route, seq)
SETTINGS non_replicated_deduplication_window = 1000;
