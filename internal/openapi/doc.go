// Package openapi says how a JSON value departs from a schema of an OpenAPI
// document. It is for tests that hold answers to a provider's own description;
// no program imports it. Of JSON Schema it knows what OpenAI's document uses:
// $ref, type, required, properties, items, enum, anyOf, oneOf, allOf, nullable.
package openapi
