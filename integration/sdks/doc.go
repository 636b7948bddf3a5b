// Package sdks holds the official SDKs of OpenAI and Anthropic, for Node,
// Python and Go, to a running Sluice: unmodified, installed from their
// registries by pinned versions, with nothing changed but base URL and key.
//
//	sluice up (simulated pools) ◀──HTTP── node, python, go: one program per SDK
//	                                       └─▶ a line of JSON per case ─▶ subtests
//
// The programs are in the folders of their languages; the one for Go is a
// module of its own. Every program must run every case that this test knows,
// so none can be left out in silence. `make sdks` installs what they need.
package sdks
