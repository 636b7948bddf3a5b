//go:build !unix

package fleet

import (
	"os"
	"syscall"
)

// Without these signals a pause does nothing and a stop is a kill.
const sigStop, sigCont, sigTerm, sigQuit = syscall.Signal(0), syscall.Signal(0), syscall.SIGKILL, syscall.Signal(0)

func signal(p *os.Process, s syscall.Signal) {
	if s == sigTerm {
		_ = p.Kill() // fails only if it has ended
	}
}

func childAttr() *syscall.SysProcAttr { return nil }
