package bench

import "net"

// freePorts are different TCP ports on loopback that were free a moment ago;
// 0 where there is none.
func freePorts(n int) []int {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // after the last: none comes twice
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}
