-- {Name: Replicated:false Distributed:false}
CREATE TABLE IF NOT EXISTS attempts
(seq UInt64, ts DateTime64(6))
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY seq
SETTINGS non_replicated_deduplication_window = 1000;
CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32) ENGINE = MergeTree ORDER BY version;
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS shadow String;
ALTER TABLE jobs MATERIALIZE PROJECTION hourly_sums;
CREATE OR REPLACE VIEW waste_daily AS SELECT 1;
-- {Name:main Replicated:true Distributed:true}
CREATE TABLE IF NOT EXISTS attempts_local ON CLUSTER `main`
(seq UInt64, ts DateTime64(6))
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/sluice/attempts_local', '{replica}')
PARTITION BY toYYYYMMDD(ts)
ORDER BY seq
SETTINGS replicated_deduplication_window = 1000;
CREATE TABLE IF NOT EXISTS attempts ON CLUSTER `main` AS attempts_local ENGINE = Distributed('main', 'sluice', 'attempts_local', toYYYYMMDD(ts));
CREATE TABLE IF NOT EXISTS schema_migrations ON CLUSTER `main` (version UInt32) ENGINE = ReplicatedMergeTree('/clickhouse/tables/sluice/schema_migrations', '{shard}-{replica}') ORDER BY version;
ALTER TABLE attempts_local ON CLUSTER `main` ADD COLUMN IF NOT EXISTS shadow String;
ALTER TABLE attempts ON CLUSTER `main` ADD COLUMN IF NOT EXISTS shadow String;
ALTER TABLE jobs_local ON CLUSTER `main` MATERIALIZE PROJECTION hourly_sums;
CREATE OR REPLACE VIEW waste_daily ON CLUSTER `main` AS SELECT 1;
-- {Name:main Replicated:true Distributed:false}
CREATE TABLE IF NOT EXISTS attempts ON CLUSTER `main`
(seq UInt64, ts DateTime64(6))
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/sluice/attempts', '{replica}')
PARTITION BY toYYYYMMDD(ts)
ORDER BY seq
SETTINGS replicated_deduplication_window = 1000;
CREATE TABLE IF NOT EXISTS schema_migrations ON CLUSTER `main` (version UInt32) ENGINE = ReplicatedMergeTree('/clickhouse/tables/sluice/schema_migrations', '{shard}-{replica}') ORDER BY version;
ALTER TABLE attempts ON CLUSTER `main` ADD COLUMN IF NOT EXISTS shadow String;
ALTER TABLE jobs ON CLUSTER `main` MATERIALIZE PROJECTION hourly_sums;
CREATE OR REPLACE VIEW waste_daily ON CLUSTER `main` AS SELECT 1;
