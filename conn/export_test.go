package conn

// Ended is closed when the manager has nothing running any more.
func (m *Manager) Ended() <-chan struct{} { return m.done }
