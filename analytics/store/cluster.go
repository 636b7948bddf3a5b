package store

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Cluster is a ClickHouse of several servers. The zero value is one server.
//
//	               ┌ shard 1 ┐ ┌ shard 2 ┐
//	attempts ─────▶│ replica │ │ replica │   attempts_local, Replicated
//	 Distributed   │ replica │ │ replica │
//
// An insert is one block of one day (I1), and a day is one shard's: so it stays
// atomic, and its token is checked in one place (I3). Reads go to all shards.
type Cluster struct {
	Name        string // as in the servers' remote_servers; "": one server
	Replicated  bool   // tables are ReplicatedMergeTree, by the servers' macros {shard} and {replica}
	Distributed bool   // <table>_local on each shard, and <table> over all of them
}

// sharding says which shard has a row.
var sharding = map[string]string{
	string(Attempts): "toYYYYMMDD(ts)",
	string(Jobs):     "toYYYYMMDD(finished_at)",
	"scores":         "cityHash64(tenant, job_id)",
	string(Texts):    "toYYYYMMDD(ts)",
}

// on is the clause behind a name in a statement about structure.
func (c *Cluster) on() string {
	if c.Name == "" {
		return ""
	}
	return " ON CLUSTER " + ident(c.Name)
}

// local is the table that has rows.
func (c *Cluster) local(table string) string {
	if c.Name != "" && c.Distributed {
		return table + "_local"
	}
	return table
}

// settings are those of every statement of ours: what was inserted is on a
// majority of the replicas, and is seen whichever of them is asked.
func (c *Cluster) settings() clickhouse.Settings {
	if c.Name == "" {
		return nil
	}
	out := clickhouse.Settings{"distributed_ddl_output_mode": "throw"}
	if c.Distributed {
		out["distributed_foreground_insert"], out["distributed_product_mode"] = 1, "global"
	}
	if c.Replicated {
		out["insert_quorum"], out["insert_quorum_parallel"], out["select_sequential_consistency"] = "auto", 0, 1
	}
	return out
}

var (
	createTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)`)
	alterTable  = regexp.MustCompile(`^ALTER TABLE (\w+)`)
	someView    = regexp.MustCompile(`^(CREATE OR REPLACE VIEW|DROP VIEW IF EXISTS) (\w+)`)
	mergeTree   = regexp.MustCompile(`ENGINE = MergeTree\b`)
)

// statements makes those of a migration, which are written for one server, ones
// for the cluster. One that it does not know is an error: nothing runs on one
// server of several only.
func (c *Cluster) statements(database, stmt string) ([]string, error) {
	if c.Name == "" {
		return []string{stmt}, nil
	}
	if m := someView.FindStringSubmatchIndex(stmt); m != nil {
		return []string{stmt[:m[1]] + c.on() + stmt[m[1]:]}, nil
	}
	if m := alterTable.FindStringSubmatchIndex(stmt); m != nil {
		table, rest := stmt[m[2]:m[3]], stmt[m[1]:]
		list := []string{"ALTER TABLE " + c.local(table) + c.on() + rest}
		if c.Distributed && strings.Contains(rest, "ADD COLUMN") {
			list = append(list, "ALTER TABLE "+table+c.on()+rest)
		}
		return list, nil
	}
	m := createTable.FindStringSubmatchIndex(stmt)
	if m == nil || !mergeTree.MatchString(stmt) {
		return nil, fmt.Errorf("cannot be made a statement for a cluster: %.60q", stmt)
	}
	table, rest := stmt[m[2]:m[3]], stmt[m[1]:]
	key, sharded := sharding[table]
	local := table
	if sharded {
		local = c.local(table)
	}
	if c.Replicated {
		path, replica := "/clickhouse/tables/"+database+"/"+local, "{shard}-{replica}"
		if sharded {
			path, replica = "/clickhouse/tables/{shard}/"+database+"/"+local, "{replica}"
		}
		rest = mergeTree.ReplaceAllLiteralString(rest, "ENGINE = ReplicatedMergeTree("+quote(path)+", "+quote(replica)+")")
		rest = strings.ReplaceAll(rest, "non_replicated_deduplication_window", "replicated_deduplication_window")
	}
	list := []string{"CREATE TABLE IF NOT EXISTS " + local + c.on() + rest}
	if sharded && c.Distributed {
		list = append(list, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s AS %s ENGINE = Distributed(%s, %s, %s, %s)",
			table, c.on(), local, quote(c.Name), quote(database), quote(local), key))
	}
	return list, nil
}
