package cli

import (
	"fmt"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// schedule is what the server says of a schedule, and is told.
type schedule struct {
	Tenant  string            `json:"tenant"`
	Name    string            `json:"name"`
	Class   string            `json:"class,omitempty"`
	Spec    string            `json:"cron,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Paused  bool              `json:"paused,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body,omitempty"`
	Next    string            `json:"next,omitempty"`
	Bytes   int               `json:"body_bytes,omitempty"`
}

func (g *globals) scheduleCommand() *cobra.Command {
	one := func(use, short, op string, paused bool) *cobra.Command {
		return &cobra.Command{Use: use + " NAME", Short: short, Args: exactly(1, "one schedule's name"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return g.onSchedule(cmd, op, &schedule{Name: args[0], Paused: paused}, false)
			}}
	}
	return group("schedule", "Submit jobs again and again, at times",
		g.addScheduleCommand(),
		&cobra.Command{Use: "list", Short: "List schedules and when they fire next", Args: exactly(0, "no arguments"), RunE: g.listSchedules},
		one("show", "Show a schedule with its request", "schedule.show", false),
		one("pause", "Stop a schedule from firing until it is resumed", "schedule.pause", true),
		one("resume", "Have a paused schedule fire again", "schedule.pause", false),
		one("remove", "Forget a schedule; jobs that it has submitted go on", "schedule.remove", false))
}

func (g *globals) addScheduleCommand() *cobra.Command {
	var f submitFlags
	var x schedule
	var replace bool
	cmd := &cobra.Command{
		Use:   "add NAME [prompt]",
		Short: "Add a schedule: a job, and when to submit it",
		Long: "Add a schedule: a prompt, or a JSON request with --file, that is submitted at every time that\n" +
			"--cron says. Each firing is a job with the ID NAME-<time in UTC>, and one job only. What was\n" +
			"missed while nothing ran is submitted once.",
		Example: "  sluice schedule add nightly --cron \"0 3 * * *\" --zone Europe/Berlin --file report.json\n" +
			"  sluice schedule add pulse --cron \"@every 15m\" --class batch \"Say hello\"",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage("put the prompt in quotes", "a name is needed, and a prompt or --file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if x.Body, err = f.body(cmd, args[1:]); err != nil {
				return err
			}
			if x.Headers, err = f.headers(); err != nil {
				return err
			}
			x.Name, x.Class = args[0], f.class
			return g.onSchedule(cmd, "schedule.add", &x, replace)
		},
	}
	p := cmd.Flags()
	p.StringVar(&x.Spec, "cron", "", "when: five cron fields, six with seconds in front, @hourly … @yearly, or \"@every 15m\"")
	p.StringVar(&x.Zone, "zone", "", "time zone of --cron, for example Europe/Berlin (default UTC)")
	p.BoolVar(&x.Paused, "paused", false, "add it without firing until it is resumed")
	p.BoolVar(&replace, "replace", false, "replace the schedule of that name")
	p.StringVar(&f.model, "model", "", "route to ask (default \"chat\", or what the JSON request says)")
	p.StringVar(&f.class, "class", string(wire.Standard), "interactive, standard or batch")
	p.StringVar(&f.endpoint, "endpoint", string(wire.ChatCompletions), "API that the request is written for")
	p.StringVar(&f.file, "file", "", "JSON request of the jobs; - for standard input")
	p.StringVar(&f.deadline, "deadline", "", "how long after its firing a job expires, for example 2h")
	p.StringVar(&f.affinity, "affinity", "", "session or user key")
	p.StringVar(&f.region, "region", "", "where the user is")
	p.StringVar(&f.maxCost, "max-cost", "", "most that a job may cost, in dollars")
	p.Int64Var(&f.maxTokens, "max-tokens", 0, "most output tokens for a prompt (0: the model's own bound)")
	p.StringVar(&f.webhook, "webhook", "", "URL to call with each result")
	p.StringArrayVar(&f.labels, "label", nil, "label, name=value; may be repeated")
	return cmd
}

// headers are those of a schedule's job.
func (f *submitFlags) headers() (map[string]string, error) {
	h := map[string]string{}
	for name, v := range map[string]string{wire.HeaderEndpoint: f.endpoint, wire.HeaderDeadline: f.deadline, wire.HeaderAffinity: f.affinity,
		wire.HeaderRegion: f.region, wire.HeaderMaxCost: f.maxCost, wire.HeaderWebhook: f.webhook} {
		if v != "" {
			h[name] = v
		}
	}
	labels, err := pairsOf("label", f.labels)
	for k, v := range labels {
		h[wire.HeaderLabel+k] = v
	}
	return h, err
}

// onSchedule asks for something about one schedule of the tenant, and prints
// it.
func (g *globals) onSchedule(cmd *cobra.Command, op string, x *schedule, replace bool) error {
	c, err := g.load(cmd)
	if err != nil {
		return err
	}
	x.Tenant, _ = g.identity(c)
	var answer struct {
		Schedule schedule `json:"schedule"`
	}
	if err := g.askOnce(cmd, op, map[string]any{"schedule": x, "replace": replace}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	if op == "schedule.remove" {
		say(cmd.ErrOrStderr(), "removed: %s\n", answer.Schedule.Name)
		return nil
	}
	s, out := &answer.Schedule, cmd.OutOrStdout()
	t := newTable("schedule", s.Name)
	t.row("tenant", s.Tenant)
	t.row("class", s.Class)
	t.row("cron", s.Spec)
	t.row("zone", firstOf(s.Zone, "UTC"))
	t.row("next", s.next())
	if err := t.print(out); err != nil || len(s.Body) == 0 {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s\n", clean(indented(s.Body)))
	return err
}

func (s *schedule) next() string {
	if s.Paused {
		return "paused"
	}
	return localTime(s.Next)
}

func (g *globals) listSchedules(cmd *cobra.Command, _ []string) error {
	var answer struct {
		Schedules []schedule `json:"schedules"`
	}
	if err := g.askOnce(cmd, "schedule.list", map[string]any{"tenant": g.tenant}, &answer); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	t := newTable("SCHEDULE", "TENANT", "CLASS", "CRON", "ZONE", "NEXT")
	for _, s := range answer.Schedules {
		t.row(s.Name, s.Tenant, s.Class, s.Spec, firstOf(s.Zone, "UTC"), s.next())
	}
	return t.print(cmd.OutOrStdout())
}
