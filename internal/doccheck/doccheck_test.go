// Package doccheck tests that the documentation is true where a program can tell: its Go code compiles, its links lead
// somewhere, and its header names are those of the code.
package doccheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

var (
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	header  = regexp.MustCompile(`\brpc-[a-z][a-z-]*[a-z]\b`)
)

// pages returns the content of each page, by its path from the root of the module.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(filepath.ToSlash(path), root+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if all["README.md"] == "" {
		t.Fatal("README.md is gone")
	}
	return all
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestCode vets each block of Go in the pages as a program of its own, in a module that uses this one.
func TestCode(t *testing.T) {
	dir := t.TempDir()
	module, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} { // the same versions
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const path = "github.com/rabbitrpc/rabbitrpc"
	run(t, dir, "go", "mod", "edit", "-module=example.com/doc", "-require="+path+"@v0.0.0", "-replace="+path+"="+module)
	blocks := 0
	for page, text := range pages(t) {
		for i, block := range goBlock.FindAllStringSubmatch(text, -1) {
			blocks++
			name := fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", ".", "-").Replace(page), i)
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name, "doc.go"), []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if blocks < 2 {
		t.Fatalf("%d blocks of Go were found, want at least 2", blocks)
	}
	if out := run(t, dir, "gofmt", "-l", "."); out != "" {
		t.Errorf("not formatted: %s", out)
	}
	run(t, dir, "go", "vet", "-mod=mod", "./...")
}

// TestLinks checks that what a page links to in this module is there.
func TestLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(l[1], "#")
			target := page
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), file))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, l[1])
			} else if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, l[1])
			}
		}
	}
}

func anchors(text string) (names []string) {
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// TestHeaders compares the headers of protocol.md with the constants of internal/wire, both ways.
func TestHeaders(t *testing.T) {
	inCode := constants(t, filepath.Join(root, "internal/wire"))
	if len(inCode) < 10 {
		t.Fatalf("%d headers were found in the code: %v", len(inCode), inCode)
	}
	inDocs := header.FindAllString(pages(t)["docs/protocol.md"], -1)
	slices.Sort(inDocs)
	inDocs = slices.Compact(inDocs)
	for _, name := range inCode {
		if !slices.Contains(inDocs, name) {
			t.Errorf("protocol.md says nothing of %s", name)
		}
	}
	for _, name := range inDocs {
		if !slices.Contains(inCode, name) {
			t.Errorf("protocol.md has %s, the code has not", name)
		}
	}
}

// constants returns the values of the constants in a package that begin with rpc-.
func constants(t *testing.T, dir string) (values []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				values = append(values, headers(spec)...)
			}
			return true
		})
	}
	return values
}

func headers(spec *ast.ValueSpec) (values []string) {
	for _, v := range spec.Values {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(s, "rpc-") {
				values = append(values, s)
			}
		}
	}
	return values
}
