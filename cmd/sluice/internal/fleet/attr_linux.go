package fleet

import (
	"os"
	"syscall"
)

const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
	sigTerm = syscall.SIGTERM
	sigQuit = syscall.SIGQUIT
)

func signal(p *os.Process, s syscall.Signal) { _ = p.Signal(s) } // fails only if it has ended

// childAttr makes the kernel kill the child with its parent, whatever killed
// that, and keeps a Ctrl-C in the terminal from the child.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
