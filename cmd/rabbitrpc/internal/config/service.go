package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/server"
)

// An option is what a key is for the server.
type option struct {
	key string
	set server.Option
}

// Options returns what the server is to be made with, but for its log and its store.
func (s *Service) Options() ([]server.Option, error) {
	named, err := s.options()
	var opts []server.Option
	for _, o := range named {
		opts = append(opts, o.set)
	}
	return opts, err
}

func (s *Service) options() ([]option, error) {
	opts := []option{
		{"workers", server.WithWorkers(s.Workers)},
		{"drain", server.WithDrain(s.Drain)},
		{"timeout", server.WithTimeout(s.Timeout)},
		{"quorum", server.WithQuorumQueue(s.Quorum)},
		{"max_queue", server.WithMaxQueue(s.MaxQueue)},
		{"poison_limit", server.WithPoisonLimit(s.PoisonLimit)},
		{"tenant_limit", server.WithTenantLimit(s.TenantLimit)},
		{"adaptive_limit", server.WithAdaptiveLimit(s.AdaptiveLimit)},
		{"user", server.WithUser(s.User)},
		{"version", server.WithVersion(s.Version)},
		{"limits", server.WithLimits(server.Limits(s.Limits))},
	}
	if s.Queue != "" {
		method, err := s.queueMethod()
		if err != nil {
			return nil, err
		}
		opts = append(opts, option{"queue", server.WithQueue(s.Queue, method)})
	}
	if s.ReplyTo != "" {
		pattern, err := regexp.Compile(s.ReplyTo)
		if err != nil {
			return nil, &KeyError{Key: "reply_to", Problem: fmt.Sprintf("must be a regular expression: %v", err)}
		}
		opts = append(opts, option{"reply_to", server.WithReplyTo(pattern)})
	}
	if s.FailFast {
		opts = append(opts, option{"fail_fast", server.WithFailFast()})
	}
	if !s.Discovery {
		opts = append(opts, option{"discovery", server.WithoutDiscovery()})
	}
	return opts, nil
}

// queueMethod is the method for messages that name none: the one that is named, or the only one.
func (s *Service) queueMethod() (string, error) {
	methods := s.Own.Methods()
	if s.QueueMethod != "" || len(methods) == 1 {
		if s.QueueMethod == "" {
			return methods[0], nil
		}
		for _, m := range methods {
			if m == s.QueueMethod {
				return m, nil
			}
		}
	}
	return "", &KeyError{Key: "queue_method", Problem: fmt.Sprintf("must be the method for messages of queue %s that name none: one of %s",
		s.Queue, strings.Join(methods, ", "))}
}
