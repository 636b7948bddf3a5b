-- Percentiles by pool and model over weeks, from a handful of states a day.

ALTER TABLE attempts ADD PROJECTION IF NOT EXISTS daily_pool_times
(
    SELECT
        toStartOfDay(ts), pool, provider, model, route, status,
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_ms, latency_ms > 0),
        quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ttft_ms, ttft_ms > 0)
    GROUP BY toStartOfDay(ts), pool, provider, model, route, status
);

ALTER TABLE attempts MATERIALIZE PROJECTION daily_pool_times;
