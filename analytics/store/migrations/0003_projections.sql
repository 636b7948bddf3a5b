-- Aggregates for percentiles and for labels (doc.go). Parts from before are
-- answered from their rows until the mutations that MATERIALIZE starts have
-- run, in the background.
--
-- The states of quantiles are exact to 1 % of the value (DDSketch). A query is
-- answered from them only if it names the same function and arguments. There
-- are few groups with states on purpose: merging them is what takes time.

ALTER TABLE attempts
    ADD PROJECTION IF NOT EXISTS hourly_times
    (
        SELECT
            toStartOfHour(ts), pool, provider, model, route, status,
            quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
            quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
        GROUP BY toStartOfHour(ts), pool, provider, model, route, status
    ),
    ADD PROJECTION IF NOT EXISTS daily_tenant_times
    (
        SELECT
            toStartOfDay(ts), tenant, route,
            quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
            quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
        GROUP BY toStartOfDay(ts), tenant, route
    ),
    ADD PROJECTION IF NOT EXISTS daily_labels
    (
        SELECT
            toStartOfDay(ts), tenant, mapKeys(labels), mapValues(labels), status,
            count(), count(cost_nano_usd), sum(cost_nano_usd),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
            sum(output_tokens), sum(reasoning_tokens)
        GROUP BY toStartOfDay(ts), tenant, mapKeys(labels), mapValues(labels), status
    );

ALTER TABLE jobs
    ADD PROJECTION IF NOT EXISTS hourly_times
    (
        SELECT
            toStartOfHour(finished_at), route, class, status,
            quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(wait_ms),
            quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(total_ms)
        GROUP BY toStartOfHour(finished_at), route, class, status
    ),
    ADD PROJECTION IF NOT EXISTS daily_tenant_times
    (
        SELECT
            toStartOfDay(finished_at), tenant, route,
            quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(wait_ms),
            quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(total_ms)
        GROUP BY toStartOfDay(finished_at), tenant, route
    );

ALTER TABLE attempts MATERIALIZE PROJECTION hourly_times, MATERIALIZE PROJECTION daily_tenant_times, MATERIALIZE PROJECTION daily_labels;
ALTER TABLE jobs MATERIALIZE PROJECTION hourly_times, MATERIALIZE PROJECTION daily_tenant_times;
