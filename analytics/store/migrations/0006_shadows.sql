-- Shadows: copies of jobs for another version, whose answers nobody gets. One
-- that succeeds has the status shadow, so that what it cost is waste.

ALTER TABLE attempts ADD COLUMN IF NOT EXISTS shadow LowCardinality(String) COMMENT 'the shadow that this attempt was a copy for, empty: none; job_id is then <job>-shadow' AFTER max_output_tokens;

CREATE OR REPLACE VIEW success_hourly AS
SELECT hour, pool, model, route, sum(n) AS attempts, sumIf(n, status = 'succeeded') AS succeeded,
    sumIf(n, status NOT IN ('succeeded', 'cancelled', 'shadow')) AS failed, failed / attempts AS failure_rate
FROM (SELECT toStartOfHour(ts) AS hour, pool, model, route, status, count() AS n FROM attempts GROUP BY toStartOfHour(ts), pool, model, route, status)
GROUP BY hour, pool, model, route;
