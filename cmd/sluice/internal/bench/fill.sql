-- Rows like a busy month's: 50 tenants of very different size, four pools,
-- three routes, lognormal tokens and times, 4 % that fail. {from} is the first
-- row, {rows} how many, {first} the first row's time and {step} the time
-- between two, in microseconds.

INSERT INTO attempts (seq, ts, job_id, attempt, tenant, class, endpoint, route, strategy, pool, provider, model, region, status, error_code,
    http_status, input_tokens, cache_read_tokens, output_tokens, usage_source, cost_nano_usd, price_version, queue_ms, ttft_ms, latency_ms,
    labels, decision_route, decision_sequence, `candidates.pool`, `candidates.model`, `candidates.weight`, `candidates.depth`, `candidates.score`, `candidates.excluded`)
WITH randCanonical(1) AS u1, randCanonical(2) AS u2, randCanonical(3) AS u3, randCanonical(4) AS u4,
    toUInt32(50 * u1 * u1 * u1) AS who, toUInt32(4 * u2 * u2) AS p, toUInt32(10 * u3) % 3 AS r,
    ['openai-us', 'local', 'anthropic', 'azure-eu'] AS pools, ['gpt-4o-mini', 'llama-3.3-70b', 'claude-haiku', 'gpt-4o'] AS models,
    multiIf(u4 < 0.96, 'succeeded', u4 < 0.985, 'failed', u4 < 0.99, 'cancelled', 'interrupted') AS st,
    toUInt32(exp(randNormal(6.2, 1.1))) AS tin, toUInt32(exp(randNormal(5.1, 0.9))) AS tout, if(u3 < 0.3, intDiv(tin, 2), 0) AS cached,
    toUInt32(exp(randNormal(5.3, 0.5)) * (1 + p / 4)) AS first_token
SELECT number + 1, fromUnixTimestamp64Micro(toInt64({first} + number * {step}), 'UTC'), '0199f6c2-7d1a-7' || leftPad(hex(number), 16, '0'), 1 + (u4 > 0.97),
    'tenant-' || leftPad(toString(who), 2, '0'), ['interactive', 'standard', 'batch'][1 + who % 3], '/v1/chat/completions', ['chat', 'smart', 'code'][1 + r], 'least_connections',
    pools[1 + p], ['openai', 'local', 'anthropic', 'azure'][1 + p], models[1 + p], 'us-east', st, multiIf(st = 'succeeded', '', u3 < 0.5, 'rate_limited', 'timeout'),
    if(st = 'succeeded', 200, 503), tin - cached, cached, if(st = 'succeeded', tout, intDiv(tout, 8)), 'provider',
    if(st = 'failed', 0, (tin - cached) * 150 + cached * 75 + tout * 600 * (p + 1)), '2026-03', toUInt32(-20 * log(1 - u3)),
    if(st = 'succeeded', first_token, 0), first_token + tout * 12,
    map('team', ['search', 'docs', 'growth', 'ops', 'research', 'support'][1 + toUInt32(6 * u2)]), ['chat', 'smart', 'code'][1 + r], number,
    pools, models, [3, 2, 1, 1], [toUInt32(20 * u1), toUInt32(20 * u2), toUInt32(20 * u3), toUInt32(20 * u4)], [u1, u2, u3, u4], ['', '', '', '']
FROM numbers({from}, {rows}) SETTINGS min_insert_block_size_rows = 5000000, min_insert_block_size_bytes = 0;

INSERT INTO jobs (seq, submitted_at, finished_at, job_id, tenant, class, route, status, error_code, attempts, cost_nano_usd, wait_ms, total_ms, labels)
WITH randCanonical(1) AS u1, randCanonical(2) AS u2, randCanonical(3) AS u3, randCanonical(4) AS u4,
    toUInt32(50 * u1 * u1 * u1) AS who, toUInt32(-40 * log(1 - u3)) AS wait, toUInt32(exp(randNormal(7.6, 0.8))) AS took,
    fromUnixTimestamp64Micro(toInt64({first} + number * {step}), 'UTC') AS at, if(u4 < 0.97, 'succeeded', 'failed') AS st
SELECT number + 1, at - toIntervalMillisecond(wait + took), at, '0199f6c2-7d1a-7' || leftPad(hex(number), 16, '0'),
    'tenant-' || leftPad(toString(who), 2, '0'), ['interactive', 'standard', 'batch'][1 + who % 3], ['chat', 'smart', 'code'][1 + toUInt32(10 * u3) % 3],
    st, if(st = 'failed', 'timeout', ''), 1 + (u4 > 0.95), toInt64(exp(randNormal(12.2, 1.1))), wait, wait + took,
    map('team', ['search', 'docs', 'growth', 'ops', 'research', 'support'][1 + toUInt32(6 * u2)])
FROM numbers({from}, {rows}) SETTINGS min_insert_block_size_rows = 5000000, min_insert_block_size_bytes = 0;
