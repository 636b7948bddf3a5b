package engine

import "syscall"

// childAttr makes the kernel kill the child with its parent, whatever killed
// that, and keeps a Ctrl-C in the terminal from reaching the child before the
// parent has stopped what uses it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
