package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/ports"
	"github.com/sluicehq/sluice/sdk/ledger"
)

// front is one way to the upstream that is measured.
type front struct {
	name string
	full bool // a gateway of others, which Sluice means to be faster than
	own  bool // Sluice
	pid  int  // 0: there is no process between
	load *loader
	stop func()

	runs []httpRun
	tap  *tap                    // of Sluice, if its hops are asked for
	took [places][]time.Duration // of each hop, in all rounds
}

// benchKey is what every gateway shows the upstream, which does not look.
const benchKey = "bench"

// frontsUp starts the upstream and everything that is measured before it. Stop
// all that it returns, also beside an error.
func frontsUp(ctx context.Context, o *HTTPOptions) (fronts []*front, stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	upstream, end, err := startPart(o, Upstream, "")
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, end.stop)
	target := "http://" + upstream
	starts := []func() (*front, error){
		func() (*front, error) {
			return &front{name: "upstream directly", load: newLoader(target, nil), stop: func() {}}, nil
		},
		func() (*front, error) { return startSluice(ctx, o, target) },
		func() (*front, error) {
			addr, p, err := startPart(o, Proxy, target)
			return &front{name: "httputil.ReverseProxy", pid: p.pid(), load: newLoader("http://"+addr, nil), stop: p.stop}, err
		},
	}
	if o.Gateways != "" {
		starts = append(starts, func() (*front, error) { return startPortkey(o, target) },
			func() (*front, error) { return startLiteLLM(o, target) })
	}
	for _, start := range starts {
		f, err := start()
		if err != nil {
			return fronts, stop, err
		}
		if f == nil { // it is not installed
			continue
		}
		stops = append(stops, func() { f.load.close(); f.stop() })
		fronts = append(fronts, f)
	}
	for _, f := range fronts {
		if err := f.await(ctx); err != nil {
			return fronts, stop, err
		}
	}
	return fronts, stop, nil
}

// await waits until the front gives answers.
func (f *front) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("two minutes have passed"))
	defer cancel()
	for {
		err := f.load.ask(ctx, Prompt(1024), false)
		if err == nil {
			return nil
		}
		if ledger.Pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%s gives no answer: %w; %w", f.name, context.Cause(ctx), err)
		}
	}
}

// child is a process of the measurement.
type child struct {
	cmd *exec.Cmd
	in  io.Closer // closing it ends one of ours
}

func (c *child) pid() int {
	if c == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// stop ends the process, and kills it after five seconds.
func (c *child) stop() {
	if c.in != nil {
		_ = c.in.Close()
	} else {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	}
	t := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer t.Stop()
	_ = c.cmd.Wait()
}

// startPart starts a process of our own and reads its address.
func startPart(o *HTTPOptions, part HTTPPart, target string) (addr string, c *child, err error) {
	args := append(o.Command[1:len(o.Command):len(o.Command)], "bench", "http-part", string(part), target)
	cmd := exec.Command(o.Command[0], args...)
	cmd.Stderr = o.Log
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, fmt.Errorf("start the %s: %w", part, err)
	}
	c = &child{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.stop()
		return "", nil, fmt.Errorf("the %s says no address: %w", part, err)
	}
	return strings.TrimSpace(line), c, nil
}

// httpPools is a pool before the upstream, over HTTP as any provider.
const httpPools = `
pools:
  - {name: up, adapter: openai, base_url: "%s/v1", api_key: "env:BENCH_UPSTREAM_KEY", concurrency: 256, models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, strategy: least_connections, candidates: [{pool: up, model: m}]}
`

func startSluice(ctx context.Context, o *HTTPOptions, target string) (*front, error) {
	command := o.Command
	p, err := newProcess(command, func(string) string { return fmt.Sprintf(httpPools, target) }, o.Log)
	if err != nil {
		return nil, err
	}
	p.environ = []string{"BENCH_UPSTREAM_KEY=" + benchKey}
	f := &front{name: "Sluice", own: true, stop: func() {
		if p.cmd != nil {
			p.stop()
		}
		p.remove()
	}}
	if o.Hops {
		if f.tap, err = newTap(ctx); err != nil {
			p.remove()
			return nil, err
		}
		p.environ = append(p.environ, f.tap.environ()...)
		up := f.stop
		f.stop = func() { up(); _ = f.tap.close() } // what it could not read is missing in what it tells
	}
	if o.Profile != "" {
		p.flags = []string{"--cpuprofile", o.Profile}
	}
	if err := p.start(ctx); err != nil {
		f.stop()
		return nil, err
	}
	f.pid, f.load = p.cmd.Process.Pid, newLoader("http://"+p.http, nil)
	return f, nil
}

// startPortkey starts the gateway of @portkey-ai/gateway.
func startPortkey(o *HTTPOptions, target string) (*front, error) {
	dir := filepath.Join(o.Gateways, "node")
	port, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	c, err := startGateway(o, dir, nil, "node", "--require", "./loopback.cjs",
		"node_modules/@portkey-ai/gateway/build/start-server.js", fmt.Sprintf("--port=%d", port[0]), "--headless")
	if err != nil {
		return nil, err
	}
	h := http.Header{"Authorization": {"Bearer " + benchKey}, "X-Portkey-Provider": {"openai"}, "X-Portkey-Custom-Host": {target + "/v1"}}
	return &front{name: "Portkey gateway " + o.version("portkey"), full: true, pid: c.pid(), load: newLoader(fmt.Sprintf("http://127.0.0.1:%d", port[0]), h), stop: c.stop}, nil
}

// startLiteLLM starts LiteLLM's proxy, if it is installed: there are machines
// that it does not install on.
func startLiteLLM(o *HTTPOptions, target string) (*front, error) {
	dir := filepath.Join(o.Gateways, "python")
	bin, err := filepath.Abs(filepath.Join(dir, "bin", "litellm"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(bin); err != nil {
		fmt.Fprintln(o.Log, "LiteLLM is not installed, so it is not measured")
		return nil, nil //nolint:nilnil // see the comment
	}
	port, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "bench.yaml")
	text := fmt.Sprintf("model_list:\n  - {model_name: chat, litellm_params: {model: openai/m, api_base: \"%s/v1\", api_key: %s}}\n", target, benchKey)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c, err := startGateway(o, dir, []string{"LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR"}, bin,
		"--config", "bench.yaml", "--host", "127.0.0.1", "--port", fmt.Sprint(port[0]), "--telemetry", "False")
	if err != nil {
		return nil, err
	}
	return &front{name: "LiteLLM proxy " + o.version("litellm"), full: true, pid: c.pid(), load: newLoader(fmt.Sprintf("http://127.0.0.1:%d", port[0]), nil), stop: c.stop}, nil
}

// version is what .ci/gateways says that it installed.
func (o *HTTPOptions) version(name string) string {
	b, err := os.ReadFile(filepath.Join(o.Gateways, name+".version"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func startGateway(o *HTTPOptions, dir string, environ []string, name string, args ...string) (*child, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, o.Log, o.Log
	cmd.Env = append(os.Environ(), environ...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; `make gateways` installs it", filepath.Base(name), err)
	}
	return &child{cmd: cmd}, nil
}
