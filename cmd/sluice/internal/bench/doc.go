// Package bench measures Sluice on the machine it runs on, beside a reference
// in the same run: raw JetStream for throughput, the simulated providers' own
// books for exactness. It runs the real parts, in this process, in folders of
// its own.
package bench
