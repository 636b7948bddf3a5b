package store

import (
	"io/fs"
	"slices"
)

// ColumnTypes are the names and types that inserts send.
func ColumnTypes(t Table) (list [][2]string) {
	if t == Jobs {
		for _, c := range jobColumns {
			list = append(list, [2]string{c.name, c.typ})
		}
		return list
	}
	for _, c := range attemptColumns {
		list = append(list, [2]string{c.name, c.typ})
	}
	return list
}

// SplitStatements and LoadMigrations are the pure part of migrations.
var SplitStatements = splitStatements

// LoadMigrations returns the names and statements of a set of files.
func LoadMigrations(files fs.FS) (names []string, statements [][]string, err error) {
	list, err := loadMigrations(files)
	for _, m := range list {
		names, statements = append(names, m.name), append(statements, slices.Clone(m.statements))
	}
	return names, statements, err
}

// BuiltIn are the migrations of this build.
func BuiltIn() fs.FS { return migrationFiles }

// SQL are the statements of a cost query: the sums, and the times if they are
// asked for apart.
func (q CostQuery) SQL() ([]string, error) {
	sum, times, err := q.plan()
	if err != nil {
		return nil, err
	}
	sql, err := sum.sql()
	list := []string{sql}
	if err == nil && times != nil {
		sql, err = times.sql()
		list = append(list, sql)
	}
	return list, err
}

// Statements are those of a migration's statement for the cluster.
func (c Cluster) Statements(database, stmt string) ([]string, error) {
	return c.statements(database, stmt)
}

// DecisionsSQL is the statement of Decisions.
func (q CostQuery) DecisionsSQL() (string, error) { return q.decisionsSQL() }
