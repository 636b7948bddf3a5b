-- Each projection is a folder of ten files in every part, and that is what an
-- insert costs. Days are summed up from hours, which are few enough, and the
-- dearest job of an hour stands beside its sums: seven projections instead of
-- twelve. Exactness does not depend on any of this: parts that lack a
-- projection are answered from their rows, until MATERIALIZE has run in the
-- background.

ALTER TABLE attempts DROP PROJECTION IF EXISTS daily, DROP PROJECTION IF EXISTS daily_times;
ALTER TABLE jobs DROP PROJECTION IF EXISTS hourly, DROP PROJECTION IF EXISTS daily, DROP PROJECTION IF EXISTS hourly_dearest, DROP PROJECTION IF EXISTS daily_times;

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS hourly_sums
(
    SELECT
        toStartOfHour(finished_at), tenant, route, class, status,
        count(), count(cost_nano_usd), sum(cost_nano_usd), max(cost_nano_usd),
        sum(attempts), sum(wait_ms), sum(total_ms), max(seq)
    GROUP BY toStartOfHour(finished_at), tenant, route, class, status
);

-- Rows of 45 columns are dear to merge: merge ten parts where ClickHouse would
-- merge five, which halves the rows that are merged. A day that is over
-- becomes one part.

ALTER TABLE attempts MODIFY SETTING merge_selector_base = 10, min_age_to_force_merge_seconds = 7200, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE jobs MODIFY SETTING merge_selector_base = 10, min_age_to_force_merge_seconds = 7200, min_age_to_force_merge_on_partition_only = 1;

CREATE OR REPLACE VIEW spend_daily AS
SELECT toStartOfDay(toStartOfHour(ts)) AS day, tenant, pool, provider, model, route, class, status,
    count() AS attempts, count() - count(cost_nano_usd) AS unknown_cost, ifNull(sum(cost_nano_usd), 0) AS spend_nano_usd,
    toDecimal128(ifNull(sum(cost_nano_usd), 0), 9) / 1000000000 AS spend_usd,
    sum(input_tokens) + sum(cache_read_tokens) + sum(cache_write_tokens) AS tokens_in, sum(output_tokens) + sum(reasoning_tokens) AS tokens_out
FROM attempts GROUP BY toStartOfDay(toStartOfHour(ts)), tenant, pool, provider, model, route, class, status;

CREATE OR REPLACE VIEW unit_costs_daily AS
SELECT day, tenant, route, sum(j) AS jobs, sum(s) AS succeeded, sum(c) AS spend_nano_usd,
    if(jobs = 0, NULL, spend_nano_usd / jobs / 1e9) AS usd_per_job, if(succeeded = 0, NULL, spend_nano_usd / succeeded / 1e9) AS usd_per_success,
    if(sum(t) = 0, NULL, spend_nano_usd / sum(t) / 1e6) AS usd_per_1000_tokens
FROM
(
    SELECT toStartOfDay(toStartOfHour(finished_at)) AS day, tenant, route, count() AS j, if(status = 'succeeded', count(), 0) AS s, toInt64(0) AS c, toUInt64(0) AS t
    FROM jobs GROUP BY toStartOfDay(toStartOfHour(finished_at)), tenant, route, status
    UNION ALL
    SELECT toStartOfDay(toStartOfHour(ts)), tenant, route, 0, 0, ifNull(sum(cost_nano_usd), 0),
        sum(input_tokens) + sum(cache_read_tokens) + sum(cache_write_tokens) + sum(output_tokens) + sum(reasoning_tokens)
    FROM attempts GROUP BY toStartOfDay(toStartOfHour(ts)), tenant, route
)
GROUP BY day, tenant, route;

CREATE OR REPLACE VIEW cache_daily AS
SELECT toStartOfDay(toStartOfHour(ts)) AS day, tenant, pool, provider, model, sum(input_tokens) AS uncached, sum(cache_read_tokens) AS cache_read,
    sum(cache_write_tokens) AS cache_write, cache_read / (uncached + cache_read + cache_write) AS hit_share
FROM attempts GROUP BY toStartOfDay(toStartOfHour(ts)), tenant, pool, provider, model;

CREATE OR REPLACE VIEW waste_daily AS
SELECT toStartOfDay(toStartOfHour(ts)) AS day, tenant, pool, provider, model, route, status AS reason, count() AS attempts,
    ifNull(sum(cost_nano_usd), 0) AS wasted_nano_usd, toDecimal128(ifNull(sum(cost_nano_usd), 0), 9) / 1000000000 AS wasted_usd
FROM attempts WHERE status != 'succeeded' GROUP BY toStartOfDay(toStartOfHour(ts)), tenant, pool, provider, model, route, status;

-- Last, since a statement after it may wait for it.

ALTER TABLE jobs MATERIALIZE PROJECTION hourly_sums;
