// Package mutate removes the guards that keep jobs from being lost, doubled or
// miscounted, one at a time, and sees that a test notices. `make mutate` runs
// it; the list of guards is in docs/reliability.md, which a test holds to this
// package.
//
//	guard ──edit in an overlay──▶ go test -run TEST ──▶ must fail
//
// It never touches a file of the repository.
package mutate
