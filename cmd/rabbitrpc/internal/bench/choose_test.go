package bench

import (
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// A password may have a comma, and is nobody's business.
const nobody = "amqp://me:s3,cret@127.0.0.1:1"

func TestChooseTheNodeThatIsThere(t *testing.T) {
	there := testbroker.URL(t)
	r := &run{Config: Config{URL: nobody + "," + there}}
	broker, err := r.choose(t.Context())
	if err != nil || r.one != there || !strings.HasPrefix(broker, "RabbitMQ ") {
		t.Errorf("got %q at the second URL: %t, and %v, want RabbitMQ there", broker, r.one == there, err)
	}
}

func TestChooseNobody(t *testing.T) {
	for _, urls := range []string{nobody, nobody + "," + nobody, "amqp://me:s3,cret@x:y"} {
		r := &run{Config: Config{URL: urls}}
		if _, err := r.choose(t.Context()); err == nil || strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
}
