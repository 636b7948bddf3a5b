// Package house holds the house rules as tests: who may import whom, how long
// files and functions get, what is documented, and what must not be in the
// repository. They read the source, so they need no server and no engine.
//
// A rule that has exceptions names each of them in its table. What is only
// worth a look is logged (go test -v), what must not be fails.
//
// # Rules
//
//	R1  sdk/wire imports the standard library only; router imports that and
//	    sdk/wire, and has no clock, goroutine, lock or global random source.
//	R2  broker, workers and analytics do not import each other.
//	R3  nats-server, clickhouse-go, purego, cobra and outbound HTTP each live
//	    in one place.
//	R4  The SDK pulls in no server and none of broker, workers, analytics.
//	R5  Every package has a doc.go of at most 60 lines; every exported name
//	    has a comment.
//	R6  No init functions, no notes to finish later, root contexts only where
//	    the process starts.
//	R7  Files stay below 600 lines, 99 of 100 functions within 90.
//	R8  No tracked file names a path of somebody's machine or a registry host.
//	R9  Exported names use the glossary's words (sdk/wire/doc.go), no synonyms.
package house
