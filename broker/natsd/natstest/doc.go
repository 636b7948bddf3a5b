// Package natstest gives tests a real embedded nats-server. Only tests import
// it. What a test needs beside it (streams, a service) it makes itself:
//
//	func TestMain(m *testing.M) { natstest.Main(m) }
//
//	js := natstest.JetStream(t, dir)
//
// Invariants:
//
//	I1  The server works under the fake time of a testing/synctest bubble, if
//	    Main has run the tests and dir was made outside of the bubble.
//	I2  Connection and server end with the test that they were made for.
package natstest
