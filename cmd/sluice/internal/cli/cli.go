package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/sluicehq/sluice/broker/rules"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/broker/whatif"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// Deps are what the command line is given by the process. The zero value
// uses the process's own standard streams, and no variables.
type Deps struct {
	// Version is what --version prints; default "dev".
	Version string
	// Commands are the server commands to add beside the clients.
	Commands []*cobra.Command
	// Environ are the variables, as os.Environ gives them.
	Environ []string
	// In, Out and Err are the standard streams; default: the process's.
	In       io.Reader
	Out, Err io.Writer
	// Strategies and Adapters are the names that a configuration may give, as
	// in [config.Sources].
	Strategies, Adapters []string
	// ProviderOf names the provider behind a base URL, as in [config.Sources].
	ProviderOf func(baseURL string) string
	// Steering is what routes jobs by a configuration; nil: route explain needs
	// a broker.
	Steering func(*config.Config) (*router.Table, *steer.Plan, error)
	// Policy is a configuration as sluice simulate plays it, and Simulated are
	// the figures of a simulated pool of it; nil: there is no such command.
	Policy    func(*config.Config) (*whatif.Policy, error)
	Simulated func(c *config.Config, pool string) (whatif.Configured, bool)
	// PriceOf is the price of a provider's model where the configuration has
	// none; nil: there are no others.
	PriceOf func(provider, model string) (wire.Price, bool)
	// FindEngine says where the embedded ClickHouse engine's library is, or
	// why it is not there; nil: doctor does not look.
	FindEngine func() (path string, err error)
	// Prices gives what a pool's upstream model costs under a configuration,
	// nil if that is not known; without it nothing is.
	Prices func(c *config.Config) func(pool, model string) *wire.Price
}

// globals are the values of the flags that every command has.
type globals struct {
	deps Deps

	config, nats, tenant, key, clickhouse, dataDir string
	sets                                           []string
	json                                           bool

	running bool // a command's own work has begun: errors are no longer usage
}

// New makes the root command. Run it with [Run], which knows what the exit
// status must be.
func New(d Deps) *cobra.Command {
	root, _ := build(d)
	return root
}

func build(d Deps) (*cobra.Command, *globals) {
	if d.In == nil {
		d.In = os.Stdin
	}
	if d.Out == nil {
		d.Out = os.Stdout
	}
	if d.Err == nil {
		d.Err = os.Stderr
	}
	if d.Version == "" {
		d.Version = "dev"
	}
	g := &globals{deps: d}
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "An async request broker for LLM inference",
		Long:          "Sluice takes jobs over NATS, routes them to LLM providers, and keeps what every attempt cost.",
		Version:       d.Version,
		SilenceErrors: true, SilenceUsage: true,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(d.In)
	root.SetOut(d.Out)
	root.SetErr(d.Err)
	g.flags(root)
	root.AddCommand(d.Commands...)
	root.AddCommand(g.submitCommand(), g.batchCommand(), g.jobCommand(), g.costCommand(), g.sqlCommand(), g.poolCommand(),
		g.routeCommand(), g.experimentCommand(), g.rolloutCommand(), g.deadCommand(), g.scheduleCommand(), g.configCommand(), g.doctorCommand())
	root.AddCommand(g.budgetCommand(), g.alertCommand(), g.topCommand(), g.textCommand())
	if d.Policy != nil {
		root.AddCommand(g.simulateCommand())
	}
	g.mark(root)
	return root, g
}

// noCommand refuses words that are no command, with a suggestion.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "did you mean " + strings.Join(s, " or ") + "?"
	}
	return usage(hint, "%s has no command %q", cmd.CommandPath(), clean(args[0]))
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("see "+cmd.CommandPath()+" --help", "%s needs a command", cmd.CommandPath())
		}}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(commands...)
	return c
}

// mark makes every command note that its own work has begun, which tells a
// failure from wrong usage.
func (g *globals) mark(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			g.running = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		g.mark(sub)
	}
}

// Run executes the command line and returns the exit status (I1).
func Run(ctx context.Context, d Deps, args []string) int {
	root, g := build(d)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return report(g.deps.Err, err, !g.running)
}

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// report prints an error with its hint, and gives the exit status for it.
func report(w io.Writer, err error, usageFault bool) int {
	code := exitFailed
	if usageFault {
		code = exitUsage
	}
	var quiet silent
	if errors.As(err, &quiet) {
		return int(quiet)
	}
	f := explain(err)
	if f.code != 0 {
		code = f.code
	}
	say(w, "error: %s\n", cleanLines(f.msg))
	if f.hint != "" {
		say(w, "hint:  %s\n", clean(f.hint))
	}
	return code
}

// sources are where the configuration of a command comes from: its flags
// --config, --set and those of [ConfigFlags], and the variables of deps.
func (g *globals) sources(cmd *cobra.Command) (config.Sources, error) {
	flags := make(map[string]string)
	for name, key := range map[string]string{"nats": "nats.url", "clickhouse": "clickhouse.dsn", "data-dir": "data_dir"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			flags[key] = f.Value.String()
		}
	}
	for _, k := range config.Keys() {
		if f := cmd.Flags().Lookup(k.Flag()); f != nil && f.Changed {
			flags[k.Path] = f.Value.String()
		}
	}
	for _, s := range g.sets {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return config.Sources{}, usage("for example --set http.listen=127.0.0.1:9090", "--set %q is not key=value", clean(s))
		}
		flags[k] = v
	}
	return config.Sources{Path: g.config, Environ: g.deps.Environ, Flags: flags,
		Strategies: g.deps.Strategies, Scorers: router.Scorers(), CheckRule: rules.Check, Adapters: g.deps.Adapters, ProviderOf: g.deps.ProviderOf}, nil
}

// Sources gives a server command its configuration's sources, to load and to
// watch it by. cmd must be in [Deps].Commands, and may have [ConfigFlags].
func Sources(cmd *cobra.Command) (config.Sources, error) {
	var g *globals
	if ctx := cmd.Context(); ctx != nil {
		g, _ = ctx.Value(globalsKey{}).(*globals)
	}
	if g == nil {
		return config.Sources{}, errors.New("the command is not part of the sluice command line")
	}
	return g.sources(cmd)
}

// LoadConfig gives a server command its configuration. Every error of it is
// exit status 2 when the command returns it.
func LoadConfig(cmd *cobra.Command) (*config.Config, error) {
	src, err := Sources(cmd)
	if err != nil {
		return nil, err
	}
	return loadAs(src)
}

// loadAs loads a configuration; every error is exit status 2.
func loadAs(src config.Sources) (*config.Config, error) {
	c, err := config.Load(src)
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, &failure{code: exitUsage, msg: err.Error(), hint: "name the file with --config", cause: err}
	}
	return c, err
}

type globalsKey struct{}

// ConfigFlags adds a flag for every key of the configuration to a command, as
// --http-listen for http.listen.
func ConfigFlags(cmd *cobra.Command) {
	for _, k := range config.Keys() {
		if k.Flag() == "data-dir" { // every command has it
			continue
		}
		what := "set " + k.Path
		if k.List {
			what += " (YAML)"
		}
		cmd.Flags().String(k.Flag(), "", what+", instead of "+k.Variable())
	}
}

func (g *globals) flags(root *cobra.Command) {
	p := root.PersistentFlags()
	p.StringVar(&g.config, "config", "", "configuration file (SLUICE_CONFIG; default sluice.yaml, where there is one)")
	p.StringVar(&g.nats, "nats", "", "URL of NATS (SLUICE_NATS_URL; default nats://127.0.0.1:4222)")
	p.StringVar(&g.tenant, "tenant", "", "tenant to act for (SLUICE_TENANT; default \"default\")")
	p.StringVar(&g.key, "key", "", "the tenant's key (SLUICE_KEY; default: the configured one)")
	p.StringVar(&g.clickhouse, "clickhouse", "", "DSN of ClickHouse (SLUICE_CLICKHOUSE_DSN; default: the embedded one)")
	p.StringVar(&g.dataDir, "data-dir", "", "data directory of sluice up (SLUICE_DATA_DIR; default ./sluice-data)")
	p.StringArrayVar(&g.sets, "set", nil, "set one value of the configuration, key=value; may be repeated")
	p.BoolVar(&g.json, "json", false, "print JSON, for programs")
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		cmd.SetContext(context.WithValue(cmd.Context(), globalsKey{}, g))
	}
}
