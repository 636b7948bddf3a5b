package cli

import (
	"fmt"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func (g *globals) configCommand() *cobra.Command {
	validate := &cobra.Command{Use: "validate", Short: "Check the configuration, and list everything wrong with it",
		Args: exactly(0, "no arguments"), RunE: g.validateConfig}
	show := &cobra.Command{Use: "show", Short: "Show the whole configuration as it counts, without secrets",
		Args: exactly(0, "no arguments"), RunE: g.showConfig}
	ConfigFlags(validate)
	ConfigFlags(show)
	return group("config", "Check and show the configuration", validate, show)
}

// loadStrictly reads the configuration as a server does.
func (g *globals) loadStrictly(cmd *cobra.Command) (*config.Config, error) {
	src, err := g.sources(cmd)
	if err != nil {
		return nil, err
	}
	return loadAs(src)
}

func (g *globals) validateConfig(cmd *cobra.Command, _ []string) error {
	c, err := g.loadStrictly(cmd)
	faults, bad := err.(config.Faults)
	if g.json && (err == nil || bad) {
		out := struct {
			Valid    bool           `json:"valid"`
			Path     string         `json:"path,omitempty"`
			Faults   []config.Fault `json:"faults"`
			Warnings []string       `json:"warnings"`
		}{Valid: err == nil, Faults: faults, Warnings: []string{}}
		if faults == nil {
			out.Faults = []config.Fault{}
		}
		if c != nil {
			out.Path, out.Warnings = c.Path, append(out.Warnings, c.Warnings...)
		}
		if err := printJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
		if bad {
			return silent(exitUsage)
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		say(cmd.ErrOrStderr(), "warning: %s\n", clean(w))
	}
	from := c.Path
	if from == "" {
		from = "the default configuration (there is no " + config.DefaultPath + ")"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s, %s, %s\n", clean(from),
		count(len(c.Pools), "pool"), count(len(c.Routes), "route"), count(len(c.Tenants), "tenant"))
	return err
}

func (g *globals) showConfig(cmd *cobra.Command, _ []string) error {
	c, err := g.loadStrictly(cmd)
	if err != nil {
		return err
	}
	text, err := c.Redacted()
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		say(cmd.ErrOrStderr(), "warning: %s\n", clean(w))
	}
	if !g.json {
		_, err = fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), tree)
}
