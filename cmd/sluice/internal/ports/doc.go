// Package ports finds TCP ports for processes that are started with one.
package ports
