package fleet

import "syscall"

// childAttr makes the kernel kill the child with its parent, whatever killed
// that, and keeps a Ctrl-C in the terminal from the child.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
