// Package natsd runs the embedded nats-server: JetStream on disk, reachable
// in process and, unless told otherwise, for any NATS client on a listener.
// It is the only package that imports the server.
//
// Without tenants there is one open account on loopback. With tenants each of
// them is a NATS user (name and key) in an account of its own:
//
//	$G      streams, JetStream, our own parts (user $sluice, whose password
//	        lies in <data_dir>/nats.password, for administration)
//	acme    nothing, but for what $G exports to this account alone: services
//	        to submit, ask, cancel, replay and read the last message of its
//	        own subjects, and its own records and chunks as they are published
//
//	acme=ci the same for a named key, ci, of acme: its user is acme too, and what
//	        it submits comes out on the subject of the payer acme=ci
//
// Tenants change while the server runs. $G holds the streams in either mode,
// so the same data serves both.
//
// Invariants:
//
//	I1  What a tenant sends reaches $G on its own services only, and names its
//	    target in the subject: nothing of JetStream is exported that takes a
//	    subject, a stream or a consumer from the message.
//	I2  An answer leaves $G to whoever asked, in its own account, wherever the
//	    reply subject points.
//	I3  No client stays connected with a key that would not let it in now.
//	I4  A server that could not write, as on a full disk, is started anew once
//	    there is room (Keep): with the same folder, address, limits and tenants,
//	    and with everything that it ever acknowledged.
//	I5  A job on a payer's subject was submitted with that key, or by one of our
//	    own parts.
package natsd
