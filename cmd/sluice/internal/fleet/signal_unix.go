//go:build unix

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
