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

// SQL is the statement of a cost query.
func (q CostQuery) SQL() (string, error) { return q.sql() }
