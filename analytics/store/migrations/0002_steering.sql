-- What rules, fallback chains and experiments made of a decision.

ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS decision_route LowCardinality(String) COMMENT 'the route that decided: route, or what a rule, an experiment or a fallback put in its place' AFTER labels,
    ADD COLUMN IF NOT EXISTS rules Array(LowCardinality(String)) COMMENT 'names of the rules that matched' AFTER decision_route,
    ADD COLUMN IF NOT EXISTS rules_failed Array(LowCardinality(String)) COMMENT 'names of the rules that could not be evaluated' AFTER rules,
    ADD COLUMN IF NOT EXISTS fallback UInt16 COMMENT 'step of the fallback chain, 0: none' AFTER rules_failed,
    ADD COLUMN IF NOT EXISTS max_attempts UInt16 COMMENT 'set by a rule, 0: none' AFTER fallback,
    ADD COLUMN IF NOT EXISTS max_output_tokens UInt64 COMMENT 'set by a fallback, 0: none' AFTER max_attempts;
