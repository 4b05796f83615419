package chaos

import "encoding/binary"

// A method is the class and the number of an AMQP method, as they are at the start of its frame.
type method uint32

// heartbeat stands for the frame, which has no method. No method has this number.
const heartbeat method = 1

var methods = func() map[string]method {
	numbers := map[string]method{"heartbeat": heartbeat}
	for _, class := range []struct {
		number  method
		name    string
		methods map[string]method
	}{
		{10, "connection", map[string]method{
			"start": 10, "start-ok": 11, "secure": 20, "secure-ok": 21, "tune": 30, "tune-ok": 31, "open": 40, "open-ok": 41,
			"close": 50, "close-ok": 51, "blocked": 60, "unblocked": 61, "update-secret": 70, "update-secret-ok": 71,
		}},
		{20, "channel", map[string]method{
			"open": 10, "open-ok": 11, "flow": 20, "flow-ok": 21, "close": 40, "close-ok": 41,
		}},
		{40, "exchange", map[string]method{
			"declare": 10, "declare-ok": 11, "delete": 20, "delete-ok": 21, "bind": 30, "bind-ok": 31, "unbind": 40, "unbind-ok": 51,
		}},
		{50, "queue", map[string]method{
			"declare": 10, "declare-ok": 11, "bind": 20, "bind-ok": 21, "purge": 30, "purge-ok": 31, "delete": 40, "delete-ok": 41,
			"unbind": 50, "unbind-ok": 51,
		}},
		{60, "basic", map[string]method{
			"qos": 10, "qos-ok": 11, "consume": 20, "consume-ok": 21, "cancel": 30, "cancel-ok": 31, "publish": 40, "return": 50,
			"deliver": 60, "get": 70, "get-ok": 71, "get-empty": 72, "ack": 80, "reject": 90, "recover-async": 100,
			"recover": 110, "recover-ok": 111, "nack": 120,
		}},
		{85, "confirm", map[string]method{"select": 10, "select-ok": 11}},
		{90, "tx", map[string]method{
			"select": 10, "select-ok": 11, "commit": 20, "commit-ok": 21, "rollback": 30, "rollback-ok": 31,
		}},
	} {
		for name, number := range class.methods {
			numbers[class.name+"."+name] = class.number<<16 | number
		}
	}
	return numbers
}()

var startOK = methods["connection.start-ok"]

// hasContent reports whether a content header and a body follow the method.
func (m method) hasContent() bool {
	switch m {
	case methods["basic.publish"], methods["basic.return"], methods["basic.deliver"], methods["basic.get-ok"]:
		return true
	}
	return false
}

// fieldSizes are those of the values of a table by their types. Those of the rest are written before them.
var fieldSizes = map[byte]int{
	't': 1, 'b': 1, 'B': 1, 's': 2, 'u': 2, 'I': 4, 'i': 4, 'l': 8, 'L': 8, 'f': 4, 'd': 8, 'D': 5, 'T': 8, 'V': 0,
}

// connectionName reads the property connection_name from the arguments of a connection.start-ok. It returns "" if there is
// none, or if it cannot be found.
func connectionName(args []byte) string {
	take := func(n int) []byte {
		if n < 0 || n > len(args) {
			args = nil
			return nil
		}
		b := args[:n]
		args = args[n:]
		return b
	}
	size := func(bytes int) int {
		n := 0
		for _, b := range take(bytes) {
			n = n<<8 | int(b)
		}
		return n
	}
	args = take(size(4)) // the table of client properties
	for len(args) > 0 {
		name, kind := string(take(size(1))), byte(size(1))
		n, fixed := fieldSizes[kind]
		if !fixed {
			n = size(4)
		}
		if value := take(n); name == "connection_name" && kind == 'S' {
			return string(value)
		}
	}
	return ""
}

func word(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
