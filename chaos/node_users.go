package chaos

import (
	"context"
	"fmt"
)

// AddUser makes a user. It may log in, but into no virtual host before SetPermissions (530).
func (n *Node) AddUser(ctx context.Context, name, password string) error {
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:add_user(%s, %s, %s)", quote(name), quote(password), actor)
}

// DeleteUser deletes a user. Its connections are closed (320, "user '...' is deleted"), and it cannot log in again (403).
func (n *Node) DeleteUser(ctx context.Context, name string) error {
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:delete_user(%s, %s)", quote(name), actor)
}

// ChangePassword gives a user another password. Its connections stay; with the old password nobody can log in (403).
func (n *Node) ChangePassword(ctx context.Context, name, password string) error {
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:change_password(%s, %s, %s)", quote(name), quote(password), actor)
}

// Permissions are what a user may do in a virtual host: each is a pattern for the names of queues and exchanges. An empty
// pattern is for none.
type Permissions struct{ Configure, Write, Read string }

// AllPermissions are for who may do everything.
var AllPermissions = Permissions{Configure: ".*", Write: ".*", Read: ".*"}

// SetPermissions says what a user may do in a virtual host. What is forbidden closes the channel that it is tried on (403).
// Consumers that there are stay, and an open channel may go on for a while with what it has just been allowed.
func (n *Node) SetPermissions(ctx context.Context, user, vhost string, p Permissions) error {
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:set_permissions(%s, %s, %s, %s, %s, %s)",
		quote(user), quote(vhost), quote(p.Configure), quote(p.Write), quote(p.Read), actor)
}

// ClearPermissions takes a virtual host away from a user. Its connections stay, as with SetPermissions; who dials is refused
// (530).
func (n *Node) ClearPermissions(ctx context.Context, user, vhost string) error {
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:clear_permissions(%s, %s, %s)", quote(user), quote(vhost), actor)
}

// LimitConnections sets how many connections a user may have, in the whole cluster. Who dials one more is refused (530). A
// negative number is no limit.
func (n *Node) LimitConnections(ctx context.Context, user string, most int) error {
	return n.limit(ctx, user, "max-connections", most)
}

// LimitChannels sets how many channels a user may have, in the whole cluster. One more closes the connection that it is
// opened on (530). A negative number is no limit.
func (n *Node) LimitChannels(ctx context.Context, user string, most int) error {
	return n.limit(ctx, user, "max-channels", most)
}

func (n *Node) limit(ctx context.Context, user, what string, most int) error {
	set := fmt.Sprintf("set_user_limits(%s, #{%s => %d}, %s)", quote(user), quote(what), most, actor)
	if most < 0 {
		set = fmt.Sprintf("clear_user_limits(%s, %s, %s)", quote(user), quote(what), actor)
	}
	return n.eval(ctx, "ok = rabbit_auth_backend_internal:%s", set)
}
