// Package config reads and checks Sluice's configuration: one YAML file, of
// which every value can also be given by a SLUICE_… variable or a flag. It
// owns the schema, its defaults and its bounds. It starts nothing, opens no
// connection, and writes nothing.
//
//	defaults ◀─ sluice.yaml ◀─ SLUICE_… ◀─ flags        (later wins)
//	                    │
//	           decode ─▶ defaults for absent pools and routes
//	                    │
//	           resolve secrets ─▶ validate ─▶ *Config, or Faults
//
// The variable of a key is SLUICE_ and the key in capitals with "_" for ".":
// http.listen is SLUICE_HTTP_LISTEN. An empty variable counts as unset. A list
// (pools, routes, rules, experiments, budgets, tenants) is given whole, as YAML. A flag may also
// name one element of a list: pools.openai-us.concurrency.
//
// # Secrets
//
// A secret is written env:NAME, file:PATH or literally (with a warning). It
// is resolved while loading and afterwards read by Reveal only: every other
// way of printing it gives "***". Passwords within URLs are treated alike.
//
// # Prices
//
// Prices are dollars per million tokens, read from the text of the scalar,
// never through a float. A price needs input and output; cache_read and
// cache_write default to input, reasoning defaults to output, so that nothing
// is free by accident.
//
// # Without pools or routes
//
// Without pools there are three simulated ones, and one for each provider
// whose usual key variable is set. Without routes there is a route chat over
// the simulated pools, and a route for every model name that another pool
// offers, over all pools that offer it.
//
// # Invariants
//
//	I1  Load reports every fault there is, not the first one, each with where
//	    it stands, its key, its value and what would be right.
//	I2  A *Config that Load returned without an error is whole and free of
//	    contradictions; it is never changed afterwards.
//	I3  No secret reaches a fault, a warning or Redacted.
//	I4  Money is read exactly.
//	I5  A bad new version of the file changes nothing.
package config
