//go:build unix && !linux

package fleet

import "syscall"

// childAttr keeps a Ctrl-C in the terminal from the child.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
