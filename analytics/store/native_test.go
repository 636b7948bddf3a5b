package store_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
)

// TestOverNative runs this package's tests of migrations, inserts, a killed
// engine, and every question once more, over clickhouse:// with LZ4.
// SLUICE_TEST_NATIVE=1 go test runs the others so too.
func TestOverNative(t *testing.T) {
	storetest.Engine(t) // says whether there is one
	if os.Getenv("SLUICE_TEST_NATIVE") == "1" {
		return // this is that run
	}
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.v",
		"-test.run=^Test(Cost|Decisions|Experiment|GrafanaPanels|RoundTrip|JobsRoundTrip|InsertIsCompareAndSet|KilledEngine|Jobs|DistributionWasteAndSavings|MigrateOldRows|Recorded)$")
	cmd.Env = append(os.Environ(), "SLUICE_TEST_NATIVE=1")
	out, err := cmd.CombinedOutput()
	passed, skipped := strings.Count(string(out), "--- PASS"), strings.Count(string(out), "--- SKIP")
	if err != nil || passed < 12 || skipped > 0 {
		t.Errorf("%v; %d passed, %d were skipped:\n%s", err, passed, skipped, out)
	}
	t.Logf("%d tests passed over the native protocol", passed)
}

func connect(t *testing.T, dsn string) driver.Conn {
	t.Helper()
	opts, err := clickhouse.ParseDSN(dsn)
	must(t, err)
	opts.Auth.Database = "default"
	conn, err := clickhouse.Open(opts)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// The unmodified driver finds what it expects of a server: this is a test of
// the front that the others stand on.
func TestNativeFront(t *testing.T) {
	front := storetest.NewFront(t, "127.0.0.1:0", nil)
	for _, compress := range []string{"", "compress=lz4", "compress=zstd"} {
		t.Run("compression "+compress, func(t *testing.T) {
			before := front.Compressed.Load()
			driverWorks(t, connect(t, storetest.DSNAt(front, compress)))
			if got := front.Compressed.Load() > before; got != (compress != "") {
				t.Errorf("blocks were compressed: %t", got)
			}
		})
	}
	if front.Inserts.Load() == 0 {
		t.Error("no insert came as blocks")
	}
}

func driverWorks(t *testing.T, conn driver.Conn) {
	ctx := t.Context()
	v, err := conn.ServerVersion()
	must(t, err)
	if v.Version.Major < 26 {
		t.Errorf("version %v", v)
	}
	var n uint64
	var s string
	param := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"n": "41", "s": "it's"}))
	must(t, conn.QueryRow(param, "SELECT {n:UInt64} + 1, {s:String}").Scan(&n, &s))
	if n != 42 || s != "it's" {
		t.Errorf("parameters: %d %q", n, s)
	}
	var read uint64
	scoped := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1, "log_comment": "it's"}),
		clickhouse.WithProgress(func(p *clickhouse.Progress) { read += p.Rows }))
	must(t, conn.QueryRow(scoped, "SELECT toUInt64(getSetting('max_threads')) + count(), getSetting('log_comment') FROM numbers(1000)").Scan(&n, &s))
	if n != 1001 || s != "it's" || read != 1000 {
		t.Errorf("settings: %d %q; %d rows of progress", n, s, read)
	}
	wantCode(t, conn.Exec(ctx, "SELECT * FROM nothing_there"), 60)
	wantCode(t, conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 1})), "SELECT 1"), 115)
	rows, err := conn.Query(ctx, "SELECT toUInt64(number), throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_threads = 1")
	must(t, err)
	count := 0
	for rows.Next() {
		count++
	}
	if wantCode(t, rows.Err(), 395); count == 0 {
		t.Error("no row came before the failure")
	}
	rows, err = conn.Query(ctx, "SELECT number AS n, toString(n) AS s FROM numbers(10) WHERE n > 100")
	must(t, err)
	if fmt.Sprint(rows.Columns()) != "[n s]" || rows.Next() || rows.Err() != nil {
		t.Errorf("no rows: %v, %v", rows.Columns(), rows.Err())
	}
	batchWorks(t, conn)
}

func batchWorks(t *testing.T, conn driver.Conn) {
	ctx := t.Context()
	table := fmt.Sprintf("t%d", time.Now().UnixNano())
	must(t, conn.Exec(ctx, "CREATE TABLE "+table+" (a UInt64, l LowCardinality(String), m Map(LowCardinality(String), String), x Nullable(Int64)) ENGINE = MergeTree ORDER BY a"))
	must(t, conn.Exec(ctx, "INSERT INTO "+table+" (a) VALUES (1), (2)"))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" (l, a, m)")
	must(t, err)
	for i := range 2 { // two blocks, one insert
		for j := range 1000 {
			must(t, batch.Append(fmt.Sprint(j%3), uint64(i*1000+j), map[string]string{"k": "v"}))
		}
		must(t, batch.Flush())
	}
	must(t, batch.Send())
	var count, sum, parts uint64
	must(t, conn.QueryRow(ctx, "SELECT count(), sum(a), uniqExact(_part) FROM "+table).Scan(&count, &sum, &parts))
	if count != 2002 || sum != 1999*2000/2+3 || parts != 2 {
		t.Errorf("%d rows, sum %d, in %d parts", count, sum, parts)
	}
	_, err = conn.PrepareBatch(ctx, "INSERT INTO "+table+" (nothing)")
	wantCode(t, err, 16)
}

func wantCode(t *testing.T, err error, code int32) {
	t.Helper()
	var ex *clickhouse.Exception
	if !errors.As(err, &ex) || ex.Code != code || ex.Message == "" {
		t.Errorf("got %v, want code %d", err, code)
	}
}

// A query whose caller gives up is cancelled at the server, and one at a server
// that hangs ends with its deadline.
func TestNativeCancel(t *testing.T) {
	front := storetest.NewFront(t, "127.0.0.1:0", nil)
	dsn, _, _ := strings.Cut(storetest.DSNAt(front, ""), "/test_")
	s, err := store.Open(store.Config{DSN: dsn + "/default?compress=lz4", DialTimeout: 30 * time.Second})
	must(t, err)
	defer s.Close()
	exec(t, s, "SELECT 1") // in a database that is there
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	rows, err := s.Query(ctx, "SELECT sum(sleepEachRow(0.01)) FROM numbers(100000) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
	if err == nil {
		for rows.Next() {
		}
		err = errors.Join(rows.Err(), rows.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
	running := "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.01)%' AND query NOT LIKE '%processes%'"
	for fmt.Sprint(query(t, s, running)[0][0]) != "0" && t.Context().Err() == nil {
		time.Sleep(20 * time.Millisecond) // the engine has a while to kill it
	}
	must(t, s.Ping(t.Context())) // by a connection that is not the cancelled one
	front.Mute.Store(true)
	defer front.Mute.Store(false)
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Query(ctx, "SELECT 1"); err == nil {
		t.Error("a server that hangs answered")
	}
}

// Connections that the server dropped, also all at once and behind our back,
// are not an error of the next call.
func TestNativeReconnects(t *testing.T) {
	front := storetest.NewFront(t, "127.0.0.1:0", nil)
	s, err := store.Open(store.Config{DSN: storetest.DSNAt(front, ""), DialTimeout: time.Minute})
	must(t, err)
	defer s.Close()
	must(t, s.Migrate(t.Context()))
	for i := range 5 {
		front.Drop()
		must(t, s.InsertAttempts(t.Context(), fakeAttempts(uint64(1+10*i), 10)))
	}
	addr := front.Addr()
	front.Close()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("nobody listens, and the ping went through")
	}
	storetest.NewFront(t, addr, nil)
	if seq, err := s.MaxSeq(t.Context(), store.Attempts); err != nil || seq != 50 {
		t.Errorf("after the restart: seq %d, %v", seq, err)
	}
}

// secure=true asks for TLS, and for a certificate that the machine trusts.
func TestNativeTLS(t *testing.T) {
	front := storetest.NewFront(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	for query, want := range map[string]string{"secure=true&skip_verify=true&compress=lz4": "", "secure=true": "certificate", "": "EOF"} {
		conn := connect(t, storetest.DSNAt(front, query))
		err := conn.Ping(t.Context())
		if want == "" && err == nil {
			batchWorks(t, conn)
			continue
		}
		if want == "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", query, err, want)
		}
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A statement without a result has no rows; a database that is not there and a
// wrong password are named, and no secret is.
func TestNativeAnswers(t *testing.T) {
	dsn := storetest.NativeDSN(t)
	s, err := store.Open(store.Config{DSN: dsn})
	must(t, err)
	defer s.Close()
	if _, err := s.MaxSeq(t.Context(), store.Jobs); !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), "code: 81") {
		t.Errorf("before Migrate: %v, want that there is no such database", err)
	}
	must(t, s.Migrate(t.Context()))
	rows, err := s.Query(t.Context(), "CREATE TABLE x (a UInt8) ENGINE = Memory")
	must(t, err)
	if rows.Next() || rows.Err() != nil || len(rows.Columns()) != 0 || rows.Close() != nil {
		t.Errorf("CREATE TABLE has a result: %v %v", rows.Columns(), rows.Err())
	}
	wrong, err := store.Open(store.Config{DSN: strings.Replace(dsn, "default:", "default:geheim", 1)})
	must(t, err)
	defer wrong.Close()
	if err := wrong.Ping(t.Context()); !errors.Is(err, store.ErrLogin) || !strings.Contains(err.Error(), "516") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a wrong password: %v", err)
	}
}
