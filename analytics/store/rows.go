package store

import (
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// Table names one of the two tables.
type Table string

// The tables that the ingester fills.
const (
	Attempts Table = "attempts"
	Jobs     Table = "jobs"
)

// Attempt is a row of the attempts table. It refers to the decoded record and
// copies nothing of it.
type Attempt struct {
	Seq     uint64    // ledger sequence of the record that ended the attempt
	TS      time.Time // when the ledger stored that record
	Job     *wire.Meta
	Attempt *wire.Attempt
}

// Job is a row of the jobs table.
type Job struct {
	Seq        uint64    // ledger sequence of the terminal record
	FinishedAt time.Time // when the ledger stored that record
	Job        *wire.Meta
	Status     wire.Status
	ErrorCode  wire.Code
	Attempts   int
	Cost       *wire.NanoUSD // of all attempts; nil: one of them is not known
	// Wait is the time that the job was not being worked on by its last
	// attempt: from submission to the start of that attempt, or all of it
	// when the job ended without one.
	Wait time.Duration
}

// PartitionOf is the partition that a row with the ledger timestamp ts falls
// into: the day in UTC. An insert takes rows of one partition only (I1).
func PartitionOf(ts time.Time) uint32 {
	y, m, d := ts.UTC().Date()
	return uint32(y*10000 + int(m)*100 + d)
}
