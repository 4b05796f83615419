package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rights"
)

const topologyPermissionsHelp = `Print the commands that give RabbitMQ users the rights that they need, and no others. It
asks no broker and changes nothing.

  --client        calls the services, and asks which instances of them there are
  --plain-client  calls the server of the queue of --queue, as RabbitMQ's tutorial 6 does. It
                  can write into any queue: RabbitMQ cannot tell them apart
  --observer      asks which instances of all services there are, and calls none
  --server        serves the services, and the queue of --queue
  --provisioner   declares for the server, which then may declare nothing but the queues in
                  which its instances are asked

Without --provisioner the server may declare what it serves. With --discovery=false servers may
not be asked, and clients may not ask: for servers with discovery: false in their configuration,
or made with server.WithoutDiscovery.

With -o json it prints definitions, for rabbitmqctl import_definitions. The users must be
there: rabbitmqctl add_user NAME asks for a password.
`

func newTopologyPermissions() *cobra.Command {
	var users rights.Users
	var scope rights.Scope
	var output string
	cmd := &cobra.Command{
		Use:   "permissions [--service NAME]... [--client|--observer|--server|--provisioner USER]...",
		Short: "Print the least rights of users, as commands or definitions",
		Long:  topologyPermissionsHelp + "\n" + exitHelp,
		Example: `  rabbitrpc topology permissions --client web --server orders --service orders
  rabbitrpc topology permissions --client web --server orders --provisioner ops --service orders,billing
  rabbitrpc topology permissions --plain-client pika --server orders --service orders --queue rpc_queue
  rabbitrpc topology permissions --observer me
  rabbitrpc topology permissions --client web --service orders --vhost prod -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkOutput(cmd, output), checkScope(cmd, users, scope)); err != nil {
				return err
			}
			grants := rights.Of(users, scope)
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				e.SetEscapeHTML(false)
				return e.Encode(grants)
			}
			for _, line := range grants.Commands() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), printable(line, "")); err != nil {
					return fmt.Errorf("write the commands: %w", err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&scope.Services, "service", nil, "a service; may be repeated")
	cmd.Flags().StringVar(&scope.Queue, "queue", "", "a plain queue")
	cmd.Flags().StringVar(&scope.Vhost, "vhost", "/", "virtual host")
	cmd.Flags().StringVar(&users.Client, "client", "", "user that calls the services")
	cmd.Flags().StringVar(&users.PlainClient, "plain-client", "", "user that calls the server of the plain queue")
	cmd.Flags().StringVar(&users.Observer, "observer", "", "user that asks which instances there are, of all services")
	cmd.Flags().StringVar(&users.Server, "server", "", "user that serves the services and the plain queue")
	cmd.Flags().StringVar(&users.Provisioner, "provisioner", "", "user that declares for the server")
	cmd.Flags().BoolVar(&scope.Discovery, "discovery", true, "servers may be asked which instances there are, and clients may ask")
	outputFlag(cmd, &output)
	return cmd
}

func checkScope(cmd *cobra.Command, u rights.Users, s rights.Scope) error {
	if err := checkServices(cmd, s.Services); err != nil {
		return err
	}
	names := []string{u.Client, u.PlainClient, u.Observer, u.Server, u.Provisioner}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	switch {
	case len(names) == 0:
		return usagef(cmd, "name a user: --client, --plain-client, --observer, --server or --provisioner")
	case len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names):
		return usagef(cmd, "a user can be one of them only: a second set of rights takes the place of the first")
	case len(s.Services) == 0 && u.Client+u.Server+u.Provisioner != "":
		return usagef(cmd, "name the services: --service")
	case s.Queue == "" && u.PlainClient != "":
		return usagef(cmd, "--plain-client needs the queue: --queue")
	}
	return nil
}
