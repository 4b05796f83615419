// Command rabbitrpc serves and makes remote procedure calls over RabbitMQ, and shows what they survive. See its --help.
package main

import "os"

func main() {
	err := newRoot().Execute()
	if err != nil {
		report(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}
