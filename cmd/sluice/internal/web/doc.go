// Package web is a client of Sluice's own HTTP interface, for what the command
// line does over it and not over NATS: files and batches, whose content is too
// large for a message.
//
//	command ──▶ Client ──▶ /v1/files, /v1/batches of a gateway
//
// It follows no redirect and sends nothing but to the URL that it was given.
//
// # Invariants
//
//	I1  A file is sent and read as a stream: its size costs no memory.
//	I2  An error is an *sdk.Error with the gateway's own code; it never holds
//	    the key.
package web
