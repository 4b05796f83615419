package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// What a broker says when it lets nobody in, in the words of RabbitMQ 3.10 to 4.x.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		atVhost bool
		cure    string
	}{
		{"password", &conn.Error{Code: 403, Reason: "username or password not allowed"}, false, "check user and password"},
		{"mechanism", &conn.Error{Code: 403, Reason: "SASL could not negotiate a shared mechanism"}, false, "auth_mechanism"},
		{"no virtual host", &conn.Error{Code: 530, Reason: "NOT_ALLOWED - vhost nowhere not found"}, true, "add_vhost 'it'\\''s'"},
		{"no rights there", &conn.Error{Code: 530, Reason: "NOT_ALLOWED - access to vhost '/' refused for user 'me'"}, true, "topology permissions --vhost"},
		{
			"limit of a virtual host",
			&conn.Error{Code: 530, Reason: "NOT_ALLOWED - access to vhost '/' refused for user 'me': connection limit (9) is reached"}, true, "set_vhost_limits",
		},
		{"limit of a user", &conn.Error{Code: 530, Reason: "NOT_ALLOWED - connection refused for user 'me': user connection limit (1) is reached"}, true, "close connections"},
		{"virtual host down", &conn.Error{Code: 541, Reason: "INTERNAL_ERROR - access to vhost '/' refused for user 'me': vhost '/' is down"}, true, "restart_vhost"},
		{"something else there", errors.New("handshake: EOF"), false, "check host and port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, atVhost := refusal(&conn.Target{User: "me", Vhost: "it's"}, tt.err)
			if got.Status != Problem || atVhost != tt.atVhost || !strings.Contains(got.Cure, tt.cure) {
				t.Errorf("got %+v, virtual host %v, want a problem, %v, with %q", got, atVhost, tt.atVhost, tt.cure)
			}
		})
	}
}

func TestChecksOfABroker(t *testing.T) {
	rabbit := func(version string) Check { return checkVersion(&conn.Broker{Product: "RabbitMQ", Version: version}) }
	plain := func(host string) Check { return checkTLS(&conn.Target{Host: host}, nil) }
	until := func(d time.Duration) Check {
		state := &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{
			{DNSNames: []string{"broker"}, NotAfter: time.Now().Add(9999 * time.Hour)}, {NotAfter: time.Now().Add(d)},
		}}
		return checkTLS(&conn.Target{Secure: true}, &conn.Probe{Broker: conn.Broker{TLS: state}})
	}
	limits := func(channels int) Check { return checkLimits(&conn.Broker{Version: "4.1.0", Channels: channels}) }
	for _, tt := range []struct {
		name string
		got  Check
		want Status
	}{
		{"old", rabbit("3.9.29"), Problem},
		{"no version", rabbit("unknown"), Problem},
		{"tried", rabbit("3.10.8"), Warning},
		{"maintained", rabbit("4.0.1"), OK},
		{"latest", rabbit("4.10.0-rc.1"), OK},
		{"another product", checkVersion(&conn.Broker{Product: "LavinMQ", Version: "2.0.0"}), Warning},
		{"no heartbeat", checkHeartbeat(0), Warning},
		{"slow heartbeat", checkHeartbeat(2 * time.Minute), Warning},
		{"heartbeat", checkHeartbeat(time.Minute), OK},
		{"few channels", limits(4), Problem},
		{"channels", limits(2047), OK},
		{"plain on this host", plain("localhost"), OK},
		{"plain by address", plain("::1"), OK},
		{"plain elsewhere", plain("broker.example"), Warning},
		{"certificate of the authority ends", until(24 * time.Hour), Warning},
		{"certificates are good", until(1000 * time.Hour), OK},
	} {
		if tt.got.Status != tt.want || (tt.want != OK) != (tt.got.Cure != "") {
			t.Errorf("%s: got %+v, want %s, with a cure unless that is ok", tt.name, tt.got, tt.want)
		}
	}
}
