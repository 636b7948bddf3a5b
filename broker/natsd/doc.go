// Package natsd runs the embedded nats-server: JetStream on disk, reachable
// in process and, unless told otherwise, for any NATS client on a listener.
// It is the only package that imports the server.
//
// Without tenants there is one open account on loopback. With tenants each of
// them is a NATS user (name and key) who may publish its own jobs, ask for and
// cancel its own jobs, and read its own records and chunks, and nothing else.
package natsd
