//go:build unix && !linux

package engine

import "syscall"

// childAttr keeps a Ctrl-C in the terminal from reaching the child before the
// parent has stopped what uses it. The end of its input tells the child that
// its parent is gone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
