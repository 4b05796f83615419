package interop_test

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

const tutorialQueue = "rpc_queue"

func TestTutorialClientCallsUs(t *testing.T) {
	serve(t, tutorialQueue)
	for _, tt := range []struct{ name, end string }{{"bare URL", ""}, {"URL with slash", "/"}} {
		t.Run(tt.name, func(t *testing.T) {
			url := strings.TrimSuffix(testbroker.URL(t), "/") + tt.end
			if got := run(t, script(t, "tutorial_client.py", url, "30"), nil); string(got) != "832040" {
				t.Errorf("got %q, want 832040", got)
			}
		})
	}
}

func TestWeCallTutorialServer(t *testing.T) {
	command := filepath.Join(t.TempDir(), "rabbitrpc")
	if out, err := exec.Command("go", "build", "-o", command, "../../cmd/rabbitrpc").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	deleteQueue(t, tutorialQueue) // ours is durable, the tutorial's is not
	startTutorialServer(t)
	url := strings.TrimSuffix(testbroker.URL(t), "/")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"bare URL", []string{"--url", url, "30"}, "832040"},
		{"URL with slash", []string{"--url", url + "/", "30"}, "832040"},
		{"JSON", []string{"--url", url, "--content-type", "application/json", "10"}, "55"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(command, append([]string{"call", "--queue", tutorialQueue}, tt.args...)...)
			cmd.Stderr = t.Output()
			if got := run(t, cmd, nil); string(got) != tt.want {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
	deleteQueue(t, tutorialQueue)
}

func startTutorialServer(t *testing.T) {
	t.Helper()
	cmd := script(t, "tutorial_server.py", testbroker.URL(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("tutorial_server.py does not serve")
	}
}

func deleteQueue(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := open(t, testbroker.URL(t)).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteQueue(ctx, name); err != nil {
		t.Fatal(err)
	}
}
