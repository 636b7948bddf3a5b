package ports

import "net"

// Free gives n different ports of loopback that were free a moment ago. It is
// safe for concurrent use, but two calls may give the same port.
func Free(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // after the last: none comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
