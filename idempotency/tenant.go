package idempotency

// Tenant is who shares a resource with other callers: a user, or a client that has
// none. A client that takes the name of a user is another tenant than that.
type Tenant struct{ User, Client string }

// Tenant returns who makes the call.
func (k Key) Tenant() Tenant {
	if k.User != "" {
		return Tenant{User: k.User}
	}
	return Tenant{Client: k.Client}
}
