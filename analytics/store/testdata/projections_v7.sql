-- Projections of version 7, beside those named hourly.

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS daily
(
    SELECT
        toStartOfDay(ts), tenant, pool, provider, model, route, class, status,
        count(), count(cost_nano_usd), sum(cost_nano_usd),
        sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
        sum(output_tokens), sum(reasoning_tokens),
        sum(queue_ms), sum(latency_ms), max(seq)
    GROUP BY toStartOfDay(ts), tenant, pool, provider, model, route, class, status
);

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS hourly_times
(
    SELECT
        toStartOfHour(ts), pool, provider, model, route, status,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
    GROUP BY toStartOfHour(ts), pool, provider, model, route, status
);

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS daily_times
(
    SELECT
        toStartOfDay(ts), pool, provider, model, route, status,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
    GROUP BY toStartOfDay(ts), pool, provider, model, route, status
);

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS daily_tenant_times
(
    SELECT
        toStartOfDay(ts), tenant, route,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
    GROUP BY toStartOfDay(ts), tenant, route
);

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS daily_labels
(
    SELECT
        toStartOfDay(ts), tenant, mapKeys(labels), mapValues(labels), status,
        count(), count(cost_nano_usd), sum(cost_nano_usd),
        sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
        sum(output_tokens), sum(reasoning_tokens)
    GROUP BY toStartOfDay(ts), tenant, mapKeys(labels), mapValues(labels), status
);

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS daily
(
    SELECT
        toStartOfDay(finished_at), tenant, route, class, status,
        count(), count(cost_nano_usd), sum(cost_nano_usd),
        sum(attempts), sum(wait_ms), sum(total_ms), max(seq)
    GROUP BY toStartOfDay(finished_at), tenant, route, class, status
);

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS hourly_dearest
(
    SELECT
        toStartOfHour(finished_at), tenant, route, class, status,
        max(cost_nano_usd)
    GROUP BY toStartOfHour(finished_at), tenant, route, class, status
);

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS hourly_times
(
    SELECT
        toStartOfHour(finished_at), route, class, status,
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(wait_ms),
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(total_ms)
    GROUP BY toStartOfHour(finished_at), route, class, status
);

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS daily_times
(
    SELECT
        toStartOfDay(finished_at), route, class, status,
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(wait_ms),
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(total_ms)
    GROUP BY toStartOfDay(finished_at), route, class, status
);

ALTER TABLE jobs ADD PROJECTION IF NOT EXISTS daily_tenant_times
(
    SELECT
        toStartOfDay(finished_at), tenant, route,
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(wait_ms),
        quantilesDDState(0.01, 0.5, 0.9, 0.95, 0.99)(total_ms)
    GROUP BY toStartOfDay(finished_at), tenant, route
);
