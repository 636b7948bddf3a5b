// Package storetest gives tests a store on the real embedded ClickHouse. It is
// imported by tests only.
//
// The engine runs once per test binary, in a child process, and every test
// gets a database of its own. SLUICE_TEST_ENGINE decides when the engine is
// not installed: unset, its tests are skipped and say so; 1, they fail; 0, they
// are skipped in any case.
//
// The engine has no native protocol, and no registry has a server that does:
// Native is one before it, so that clickhouse:// is tested with the driver as
// it is and the engine as it is. With SLUICE_TEST_NATIVE=1 every DSN is such.
package storetest
