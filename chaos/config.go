package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// Two schedulers not bound to a core, that wait a moment before they sleep, and small tables: a node boots in less
	// than half the time that it takes with the arguments for production.
	fastBoot = "+S 2:2 +stbt u +sbwt very_short +sbwtdcpu very_short +sbwtdio very_short +P 100000 +t 1048576"

	// What quorum queues count is a second old, not five.
	freshCounts = " -rabbit quorum_tick_interval 1000"

	// A node that says nothing is down for the others after 6 to 10 seconds, not 45 to 75; and the leaders of its quorum
	// queues after one or two, not five.
	fastDetection = " -kernel net_ticktime 8 -aten poll_interval 1000"
)

// writeFiles writes what a node reads when it starts.
func writeFiles(dir string, p place, o options) error {
	config := append([]string{
		"listeners.tcp.local = " + p.address(),
		"disk_free_limit.absolute = 1MB", // a full disk is for the tests to bring about
	}, o.config...)
	if o.tls != nil {
		config = append(config, o.tls.config(p)...)
	}
	for _, f := range [...]struct {
		name, content string
		mode          os.FileMode
	}{
		{"rabbitmq.conf", strings.Join(config, "\n") + "\n", 0o600},
		{"enabled_plugins", "[" + strings.Join(o.plugins, ",") + "].\n", 0o600},
		{".erlang.cookie", o.cookie, 0o400},
	} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.content), f.mode); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return nil
}

// environment returns all that a node's programs see of the environment: hardly anything of this process's own, or the
// settings of the machine's broker would get in.
func environment(dir string, p place) []string {
	in := func(file string) string { return filepath.Join(dir, file) }
	args := fastBoot + freshCounts
	if !p.alone() {
		args += fastDetection
	}
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"LC_ALL=C.UTF-8",
		"HOME=" + dir, // for .erlang.cookie
		"TMPDIR=" + dir,

		"ERL_AFLAGS=" + p.erlangFlags(),
		"ERL_CRASH_DUMP_SECONDS=0", // none: it would hold up the error
		"ERL_EPMD_ADDRESS=" + p.host,
		"ERL_EPMD_PORT=" + strconv.Itoa(p.epmd),

		"RABBITMQ_NODENAME=" + p.name,
		"RABBITMQ_USE_LONGNAME=" + strconv.FormatBool(!p.alone()),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(p.dist),
		"RABBITMQ_MNESIA_BASE=" + in("data"),
		"RABBITMQ_LOG_BASE=" + dir,
		"RABBITMQ_LOGS=-", // with all else that the server prints, to Node.Log
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("enabled_plugins"),
		"RABBITMQ_CONFIG_FILE=" + in("rabbitmq.conf"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=" + args,

		// These need not exist. The defaults are the machine's own.
		"RABBITMQ_CONF_ENV_FILE=" + in("rabbitmq-env.conf"),
		"RABBITMQ_CONFIG_FILES=" + in("conf.d"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("advanced.config"),

		"RABBITMQ_CTL_DIST_PORT_MIN=0", // any free port; the default is a range of eleven for the whole machine
		"RABBITMQ_CTL_DIST_PORT_MAX=0",

		"RUNNING_UNDER_SYSTEMD=true", // makes the script become the broker, instead of its parent
	}
}
