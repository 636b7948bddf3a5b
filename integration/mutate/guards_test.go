package mutate

// guard is something without which a job could be lost, doubled or miscounted.
type guard struct {
	name string // as in docs/reliability.md
	file string // from the repository's root
	old  string // the code that is the guard; exactly once in file
	new  string // the code without it
	pkg  string // whose tests notice
	test string // one of them, with what -run takes
}

const (
	ledgerFile   = "sdk/ledger/ledger.go"
	judgeFile    = "sdk/ledger/judge.go"
	attemptFile  = "workers/run/attempt.go"
	runnerFile   = "workers/run/runner.go"
	dispatchFile = "broker/dispatch/dispatch.go"
	sessionFile  = "analytics/ingest/session.go"
	insertFile   = "analytics/store/insert.go"
	path         = "./integration/path"
	ledgerPkg    = "./sdk/ledger"
	ingestPkg    = "./analytics/ingest"
	storePkg     = "./analytics/store"
)

var guards = []guard{
	{"message ID of a submission", "sdk/job.go", "header[wire.HeaderMsgID] = []string{rand.Text()}", "_ = rand.Text",
		"./sdk", "TestSubmitRepeatsAnUnacknowledgedPublish"},

	{"expected sequence at the claim", ledgerFile, "h[wire.HeaderExpectedLast] = []string{strconv.FormatUint(expect, 10)}",
		"if rec.Status != wire.Running {\n\t\th[wire.HeaderExpectedLast] = []string{strconv.FormatUint(expect, 10)}\n\t}", path, "TestSameIDIsOneJob"},
	{"expected sequence at the end", ledgerFile, "h[wire.HeaderExpectedLast] = []string{strconv.FormatUint(expect, 10)}",
		"if rec.Status == wire.Running {\n\t\th[wire.HeaderExpectedLast] = []string{strconv.FormatUint(expect, 10)}\n\t}", path, "TestLostWorker"},
	{"a lost acknowledgement is settled by reading", ledgerFile, "case standing != nil && same(standing.header, h): // I2", "case false && same(nil, nil):",
		ledgerPkg, "TestAppendAmbiguous"},
	{"a finished job's work is dropped", judgeFile, "if last.Status.Terminal() {\n\t\treturn Ruling{Verdict: Drop}",
		"if last.Status.Terminal() {\n\t\treturn Ruling{Verdict: Claim, Expect: last.Seq}", path, "TestCrashPoints"},
	{"a copy of a running attempt is dropped", judgeFile, "if e.Attempt != nil && e.Attempt.N == w.N && e.WorkSeq == w.Seq {",
		"if e.Attempt != nil && e.Attempt.N == w.N {", ledgerPkg, "TestJudge"},
	{"a work message that was taken back is not claimed", judgeFile, "w.N <= e.Progress.Attempts || w.Recalls < e.Progress.Recalls", "w.N <= e.Progress.Attempts", ledgerPkg, "TestTakeBack"},
	{"an old copy takes over what its job has been through", judgeFile, "!CatchUp(rec, c.Last) {", "false {", ledgerPkg, "TestSettleOldCopy"},
	{"the same ID with another body is refused", judgeFile, "if e.Meta.Seq != m.Seq {", "if false {", path, "TestSameIDOtherBody"},

	{"work is acknowledged after the end is durable", attemptFile, "\t\tcase errors.Is(err, errNotQueued):\n\t\t\ta.warn(\"job not queued again yet\", err)\n\t\t\treturn later",
		"\t\tcase errors.Is(err, errNotQueued):\n\t\t\treturn done", path, "TestRequeueIsLost"},
	{"a job is acknowledged after its work message is durable", dispatchFile, "\t\t\to.err = errNoAck\n", "\t\t\td.done(s.it)\n",
		path, "TestWorkStreamWithoutALeader"},
	{"a job that could not be ended or delayed stays in its queue", "broker/dispatch/intake.go", "\t\td.giveBack(it, time.Second)\n\t\treturn\n\t}\n\td.done(it)",
		"\t\t_ = time.Second\n\t}\n\td.done(it)", path, "TestLedgerAway"},

	{"a pinned queue's floor does not move", runnerFile, "if r.cfg.Subjects.IsPin(m.Subject()) {\n\t\t\treturn\n\t\t}\n", "", path, "TestPinStays"},
	{"the queues of a cluster are pinned", "broker/topology/topology.go", "&& (c.Pins || c.Replicas > 1) {", "&& c.Pins {", "./broker/topology", "TestClusterIsPinned"},

	{"heartbeat of a running call", runnerFile, "if err := c.msg.InProgress(); err != nil {", "if err := error(nil); c != nil && err != nil {", path, "TestHeartbeats"},
	{"sign of life of a job in a router's memory", "broker/dispatch/loop.go", "if err := it.msg.InProgress(); err != nil {", "if err := error(nil); err != nil {",
		path, "TestHeldJobsAreNotDeliveredAgain"},
	{"a live worker's claim is waited for", attemptFile, "if err != nil || alive {", "if err != nil || alive && false {", path, "TestLiveWorkerIsWaitedFor"},
	{"one call per job in a process", runnerFile, "if r.running[key] != nil {\n\t\treturn false", "if false {\n\t\treturn false", path, "TestLiveWorkerIsWaitedFor"},
	{"a vanished worker's attempt becomes a record", attemptFile, "err = a.overtake(hard, last)", "err = nil", path, "TestLostWorker"},
	{"a wish to cancel is told from another worker's record", attemptFile, "return last != nil && last.Status == wire.Running && last.Reason == wire.ReasonCancel &&",
		"return false &&", path, "TestCancel"},
	{"concurrency of a pool", "sdk/ledger/queue.go", "MaxAckPending: concurrency", "MaxAckPending: concurrency * 2", path, "TestConcurrency"},
	{"a call is not repeated by the transport", "workers/engine/endpoint.go", "return req.WithContext(ctx)",
		"if again, err := http.NewRequest(enc.Method, \"\", strings.NewReader(\"\")); err == nil {\n\t\treq.GetBody = again.GetBody\n\t}\n\treturn req.WithContext(ctx)", "./workers/engine", "TestRequest"},
	{"forgotten messages are delivered again", "broker/reconcile/reconcile.go", "_, err := stream.ResetConsumerToSequence(ctx, q.Name, seq)", "err := error(nil)",
		"./broker/reconcile", "TestForgottenMessageIsDeliveredAgain"},

	{"a row is inserted once: position of attempts", sessionFile, "if a != nil && m.Seq > s.haveAttempts {", "if a != nil {", ingestPkg, "TestFaultyInserts"},
	{"a row is inserted once: position of jobs", sessionFile, "if j != nil && m.Seq > s.haveJobs {", "if j != nil {", ingestPkg, "TestJobWithoutAnAttemptIsLast"},
	{"an insert is a compare-and-set: token", insertFile, "\"insert_deduplication_token\": token,", "\"insert_deduplication_token\": token + time.Now().String(),",
		storePkg, "TestInsertIsCompareAndSet|TestWritersRace"},
	{"an insert is a compare-and-set: where the table stands", insertFile, "case seq == last:", "case true:", storePkg, "TestBurntToken|TestInsertIsCompareAndSet"},
	{"an insert does not span partitions", "analytics/ingest/batch.go", "store.PartitionOf(at(&rows[n])) == p", "p == p", ingestPkg, "TestPartitionBoundary"},
	{"another ledger is refused", sessionFile, "if last >= have {", "if true {", ingestPkg, "TestOtherLedger"},
	{"retention stays behind the ingester", "analytics/ingest/janitor.go", "keep := min(young, position+1)", "keep := young", ingestPkg, "TestRetentionOfWhatIsNotWritten"},
}
