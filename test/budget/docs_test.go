package budget

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strakehq/strake/test/testkit"
)

var update = flag.Bool("update", false, "write the table into docs/performance.md")

const (
	tableBegins = "<!-- budgets: written by go test ./test/budget -update -->\n"
	tableEnds   = "<!-- end of budgets -->\n"
)

func TestTheDocumentShowsTheTable(t *testing.T) {
	file := filepath.Join(testkit.Root(), "docs", "performance.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(b), tableBegins)
	table, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s: no place for the table", file)
	}
	want := render(budgets())
	switch {
	case table == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: another table than the test's, go test ./test/budget -run Document -update", file)
	}
}

func render(all []budget) string {
	var s strings.Builder
	s.WriteString("\n| operation | at most | of | why |\n|---|---|---|---|\n")
	var last operation
	for _, b := range all {
		op := ""
		if b.op != last {
			op = "`" + string(b.op) + "`"
		}
		last = b.op
		fmt.Fprintf(&s, "| %s | %d | %s | %s |\n", op, b.max, b.of, b.why)
	}
	s.WriteString("\n")
	return s.String()
}
