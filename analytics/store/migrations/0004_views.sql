-- The standard questions as views, for SQL, Grafana and others. All but
-- dearest_jobs are answered from projections, so that they do not grow with
-- the number of rows; a condition on hour or day reads only that part.

CREATE OR REPLACE VIEW spend_hourly AS
SELECT toStartOfHour(ts) AS hour, tenant, pool, provider, model, route, class, status,
    count() AS attempts, count() - count(cost_nano_usd) AS unknown_cost, ifNull(sum(cost_nano_usd), 0) AS spend_nano_usd,
    toDecimal128(ifNull(sum(cost_nano_usd), 0), 9) / 1000000000 AS spend_usd,
    sum(input_tokens) + sum(cache_read_tokens) + sum(cache_write_tokens) AS tokens_in, sum(output_tokens) + sum(reasoning_tokens) AS tokens_out
FROM attempts GROUP BY toStartOfHour(ts), tenant, pool, provider, model, route, class, status;

CREATE OR REPLACE VIEW spend_daily AS
SELECT toStartOfDay(ts) AS day, tenant, pool, provider, model, route, class, status,
    count() AS attempts, count() - count(cost_nano_usd) AS unknown_cost, ifNull(sum(cost_nano_usd), 0) AS spend_nano_usd,
    toDecimal128(ifNull(sum(cost_nano_usd), 0), 9) / 1000000000 AS spend_usd,
    sum(input_tokens) + sum(cache_read_tokens) + sum(cache_write_tokens) AS tokens_in, sum(output_tokens) + sum(reasoning_tokens) AS tokens_out
FROM attempts GROUP BY toStartOfDay(ts), tenant, pool, provider, model, route, class, status;

CREATE OR REPLACE VIEW unit_costs_daily AS
SELECT day, tenant, route, sum(j) AS jobs, sum(s) AS succeeded, sum(c) AS spend_nano_usd,
    if(jobs = 0, NULL, spend_nano_usd / jobs / 1e9) AS usd_per_job, if(succeeded = 0, NULL, spend_nano_usd / succeeded / 1e9) AS usd_per_success,
    if(sum(t) = 0, NULL, spend_nano_usd / sum(t) / 1e6) AS usd_per_1000_tokens
FROM
(
    SELECT toStartOfDay(finished_at) AS day, tenant, route, count() AS j, if(status = 'succeeded', count(), 0) AS s, toInt64(0) AS c, toUInt64(0) AS t
    FROM jobs GROUP BY toStartOfDay(finished_at), tenant, route, status
    UNION ALL
    SELECT toStartOfDay(ts), tenant, route, 0, 0, ifNull(sum(cost_nano_usd), 0),
        sum(input_tokens) + sum(cache_read_tokens) + sum(cache_write_tokens) + sum(output_tokens) + sum(reasoning_tokens)
    FROM attempts GROUP BY toStartOfDay(ts), tenant, route
)
GROUP BY day, tenant, route;

CREATE OR REPLACE VIEW pool_share_hourly AS
SELECT hour, route, pool, model, attempts, attempts / sum(attempts) OVER (PARTITION BY hour, route) AS share
FROM (SELECT toStartOfHour(ts) AS hour, route, pool, model, count() AS attempts FROM attempts GROUP BY toStartOfHour(ts), route, pool, model);

CREATE OR REPLACE VIEW times_hourly AS
SELECT hour, pool, provider, model, route,
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(l) AS latency_ms, latency_ms[1] AS latency_p50, latency_ms[3] AS latency_p95, latency_ms[4] AS latency_p99,
    quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(f) AS ttft_ms, ttft_ms[1] AS ttft_p50, ttft_ms[3] AS ttft_p95, ttft_ms[4] AS ttft_p99
FROM
(
    SELECT toStartOfHour(ts) AS hour, pool, provider, model, route,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0) AS l,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0) AS f
    FROM attempts GROUP BY toStartOfHour(ts), pool, provider, model, route
)
GROUP BY hour, pool, provider, model, route;

CREATE OR REPLACE VIEW success_hourly AS
SELECT hour, pool, model, route, sum(n) AS attempts, sumIf(n, status = 'succeeded') AS succeeded,
    sumIf(n, status NOT IN ('succeeded', 'cancelled')) AS failed, failed / attempts AS failure_rate
FROM (SELECT toStartOfHour(ts) AS hour, pool, model, route, status, count() AS n FROM attempts GROUP BY toStartOfHour(ts), pool, model, route, status)
GROUP BY hour, pool, model, route;

CREATE OR REPLACE VIEW retries_hourly AS
SELECT hour, tenant, route, class, sum(n) AS jobs, sum(a) AS attempts, sumIf(n, status = 'succeeded') AS succeeded,
    greatest(attempts - jobs, 0) AS retries, retries / jobs AS retries_per_job
FROM (SELECT toStartOfHour(finished_at) AS hour, tenant, route, class, status, count() AS n, toInt64(sum(attempts)) AS a
    FROM jobs GROUP BY toStartOfHour(finished_at), tenant, route, class, status)
GROUP BY hour, tenant, route, class;

CREATE OR REPLACE VIEW cache_daily AS
SELECT toStartOfDay(ts) AS day, tenant, pool, provider, model, sum(input_tokens) AS uncached, sum(cache_read_tokens) AS cache_read,
    sum(cache_write_tokens) AS cache_write, cache_read / (uncached + cache_read + cache_write) AS hit_share
FROM attempts GROUP BY toStartOfDay(ts), tenant, pool, provider, model;

CREATE OR REPLACE VIEW waste_daily AS
SELECT toStartOfDay(ts) AS day, tenant, pool, provider, model, route, status AS reason, count() AS attempts,
    ifNull(sum(cost_nano_usd), 0) AS wasted_nano_usd, toDecimal128(ifNull(sum(cost_nano_usd), 0), 9) / 1000000000 AS wasted_usd
FROM attempts WHERE status != 'succeeded' GROUP BY toStartOfDay(ts), tenant, pool, provider, model, route, status;

CREATE OR REPLACE VIEW labels_daily AS
SELECT day, tenant, label, value, sum(n) AS attempts, sum(c) AS spend_nano_usd, toDecimal128(sum(c), 9) / 1000000000 AS spend_usd
FROM (SELECT toStartOfDay(ts) AS day, tenant, mapKeys(labels) AS k, mapValues(labels) AS v, count() AS n, ifNull(sum(cost_nano_usd), 0) AS c
    FROM attempts GROUP BY toStartOfDay(ts), tenant, mapKeys(labels), mapValues(labels)
    SETTINGS optimize_functions_to_subcolumns = 0)
ARRAY JOIN k AS label, v AS value
GROUP BY day, tenant, label, value;

CREATE OR REPLACE VIEW dearest_jobs AS
SELECT finished_at, tenant, job_id, route, class, status, attempts, cost_nano_usd, cost_usd, total_ms, batch_id, labels
FROM jobs WHERE cost_nano_usd > 0 ORDER BY cost_nano_usd DESC;
