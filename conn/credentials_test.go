package conn_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// TestCredentials: a password is changed, and the next dial uses the new one.
func TestCredentials(t *testing.T) {
	n := testbroker.Node(t)
	must(t, n.AddUser(t.Context(), "rotated", "first"))
	t.Cleanup(func() { must(t, n.DeleteUser(context.Background(), "rotated")) })
	must(t, n.SetPermissions(t.Context(), "rotated", "/", chaos.AllPermissions))
	u, err := url.Parse(n.URL())
	must(t, err)
	u.User = url.UserPassword("nobody", "of the URL")

	var password atomic.Pointer[string]
	set := func(s string) { password.Store(&s) }
	set("first")
	m := open(t, u.String(), conn.WithCredentials(func() (string, string, error) {
		if p := *password.Load(); p != "" {
			return "rotated", p, nil
		}
		return "", "", errors.New("no such file")
	}))
	old := session(t, m)
	must(t, n.ChangePassword(t.Context(), "rotated", "second"))
	set("second")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := m.Dial(ctx)
	must(t, err)
	must(t, s.Close(ctx))
	set("")
	if _, err := m.Dial(ctx); !errors.Is(err, conn.ErrNotConnected) || !strings.Contains(err.Error(), "read the credentials: no such file") {
		t.Errorf("got %v, want not connected, and why", err)
	}
	if err := old.Err(); err != nil {
		t.Errorf("the session that was there has ended: %v", err)
	}
}

// TestNoCredentials: without a user it is the one of the URL.
func TestNoCredentials(t *testing.T) {
	m := open(t, testbroker.URL(t), conn.WithCredentials(func() (string, string, error) { return "", "", nil }))
	session(t, m)
}
