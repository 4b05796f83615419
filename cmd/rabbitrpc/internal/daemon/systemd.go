package daemon

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	notify "github.com/coreos/go-systemd/v22/daemon"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	statusEvery = 5 * time.Second  // at most that often, systemd learns how it goes
	startExtra  = 30 * time.Second // more for the start, said again and again while the broker is down
	closing     = 10 * time.Second // for what comes after the drain
	tellTimeout = time.Second

	// dialLimit is more than a manager takes from one dial to the next: 15 s of backoff, and 10 s for each node.
	dialLimit = 5 * time.Minute
)

// systemd tells the service manager how it goes, as in sd_notify(3). Without one it does nothing.
type systemd struct{ log *slog.Logger }

func (s systemd) say(lines ...string) {
	if err := tell(strings.Join(lines, "\n")); err != nil {
		s.log.Warn("systemd cannot be told", "err", err)
	}
}

// tell is SdNotify of go-systemd with a limit: a service manager that does not read holds up no start, reload or end.
func tell(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(tellTimeout)); err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return err
}

func (s systemd) reloading() { s.say("RELOADING=1", notify.SdNotifyMonotonicUsec()) }

func extend(d time.Duration) string { return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds()) }

// ticker ticks often enough for the watchdog; without systemd it does not.
func (s systemd) ticker() *time.Ticker {
	every := statusEvery
	if os.Getenv("NOTIFY_SOCKET") == "" {
		every = 365 * 24 * time.Hour
	}
	watchdog, err := notify.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("no watchdog", "err", err)
	}
	return time.NewTicker(min(every, cmp.Or(watchdog/3, every)))
}

// pulse tells systemd that there is progress, if there is. While the broker is down before all services have taken calls, it
// asks for more time.
func (d *Daemon) pulse() {
	lines := []string{d.status(), "WATCHDOG=1"}
	if err := d.progress(); err != nil && !d.draining.Load() { // draining has its own limit
		d.log.Error("no progress: the watchdog of systemd is not fed", "err", err)
		lines = []string{"STATUS=" + err.Error()}
	}
	if !d.ready.Load() {
		lines = append(lines, extend(startExtra))
	}
	d.system.say(lines...)
}

// progress returns an error if the daemon lives, and does not do what it is for: nobody dials, or no worker of a service will
// take another request. That they run calls within their deadlines is progress.
func (d *Daemon) progress() error {
	if b := d.Broker(); b.Phase == conn.Connecting && !b.Since.IsZero() && time.Since(b.Since) > dialLimit {
		return fmt.Errorf("no dial of the broker has ended for %v", time.Since(b.Since).Round(time.Second))
	}
	for _, s := range d.Services() {
		if s.Stats.Stuck >= int64(s.Config.Workers) {
			return fmt.Errorf("service %s: all %d workers are held by calls whose deadlines are over", s.Config.Name, s.Config.Workers)
		}
	}
	return nil
}

// status is a line for systemctl status.
func (d *Daemon) status() string {
	var running int64
	var names []string
	for _, s := range d.Services() {
		running += s.Stats.Running
		names = append(names, s.Config.Name)
	}
	switch b := d.Broker(); {
	case d.draining.Load():
		return fmt.Sprintf("STATUS=draining: %d calls run", running)
	case b.Phase != conn.Connected:
		return "STATUS=waiting for the broker"
	default:
		return fmt.Sprintf("STATUS=serving %s at %s: %d calls run%s", strings.Join(names, ", "), b.Addr, running, d.unapplied())
	}
}

// unapplied says what the last reload could not start.
func (d *Daemon) unapplied() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.refused) == 0 {
		return ""
	}
	return "; not in force since the last reload, see the log: " + strings.Join(d.refused, ", ")
}
