package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
)

const configHelp = `Write, check and look at a configuration of rabbitrpc serve: a file in YAML (.yaml,
.yml) or TOML (.toml). Without FILE it is the one of RABBITRPC_CONFIG, or none.

Flags of serve win over variables of the environment, these over the file, and the
file over defaults. The variable for the key log.level is RABBITRPC_LOG_LEVEL, and so
on; for broker.url, RABBITMQ_URL and AMQP_URL are known, too. The list of services is
in the file only. A key or a variable that means nothing is an error.
`

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check and look at a configuration of serve",
		Long:  configHelp + "\n" + exitHelp,
		Example: `  rabbitrpc config example > rabbitrpc.yaml
  rabbitrpc config check rabbitrpc.yaml
  rabbitrpc config show rabbitrpc.yaml`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigShow(), newConfigExample())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var gateway bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say all that is wrong with a configuration",
		Long: `Read a configuration as rabbitrpc serve would, with the environment and the files
that it names, and say all that is wrong with it. Nothing is started or connected.
With --gateway, read it as rabbitrpc gateway would, which needs no services.

` + exitHelp,
		Example: `  rabbitrpc config check rabbitrpc.yaml
  rabbitrpc config check --gateway gateway.yaml
  rabbitrpc config check /etc/rabbitrpc/rabbitrpc.yaml && systemctl reload rabbitrpc`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(fileOf(args), nil, gateway)
			if err != nil {
				return err
			}
			what := named(c.Services)
			if gateway {
				what = "gateway at " + c.Gateway.Listen
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok:", what)
			return err
		},
	}
	gatewayFlag(cmd, &gateway)
	return cmd
}

func gatewayFlag(cmd *cobra.Command, gateway *bool) {
	cmd.Flags().BoolVar(gateway, "gateway", false, "as rabbitrpc gateway reads it: without its services")
}

func newConfigShow() *cobra.Command {
	var gateway bool
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show what is in force, and where each value comes from",
		Long: `Show the configuration that rabbitrpc serve would have, as YAML. Behind each value
stands where it comes from: the file, a variable of the environment, or a default.
Passwords and other secrets are not shown.

` + exitHelp,
		Example: `  rabbitrpc config show rabbitrpc.yaml
  RABBITRPC_LOG_LEVEL=debug rabbitrpc config show`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(fileOf(args), nil, gateway)
			if err != nil {
				return err
			}
			return c.Show(cmd.OutOrStdout())
		},
	}
	gatewayFlag(cmd, &gateway)
	return cmd
}

func newConfigExample() *cobra.Command {
	return &cobra.Command{
		Use:     "example",
		Short:   "Print a configuration with all keys and what they mean",
		Example: `  rabbitrpc config example > rabbitrpc.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), config.Example)
			return err
		},
	}
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef(cmd, "want one file, got %d", len(args))
	}
	return nil
}

// fileOf is the file that is named, or that of the environment.
func fileOf(args []string) string {
	if len(args) > 0 && args[0] != "" {
		return args[0]
	}
	return os.Getenv(config.FileVariable)
}

// loadConfig reads a configuration, for a gateway without the services in it.
func loadConfig(file string, flags map[string]string, gateway bool) (*config.Loaded, error) {
	return config.Load(config.Input{File: file, Environ: os.Environ(), Flags: flags, Kinds: kinds, NoServices: gateway})
}

// given are the values of the flags that were given, by their keys in a configuration.
func given(cmd *cobra.Command, keys map[string]string) map[string]string {
	values := make(map[string]string)
	for name, key := range keys {
		if f := cmd.Flags().Lookup(name); f.Changed {
			values[key] = f.Value.String()
		}
	}
	return values
}

// forPeople reports whether the log is to be for people, and not for programs.
func forPeople(c *config.Loaded, logs io.Writer) bool {
	return c.Log.Format == config.FormatText || c.Log.Format == config.FormatAuto && isTerminal(logs)
}
