package form

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestLogNames(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 10, 0, 0, 5, time.FixedZone("", 3600))
	name := LogName(at)
	if got, err := ParseLogName(name); err != nil || !got.Equal(at) || name != "20261201T090000.000000005Z.log" {
		t.Errorf("%s is of %s, %v; want %s", name, got, err, at)
	}
	for _, bad := range []string{"", "x.log", "20261201T090000Z.log", "20261201T090000.000000005Z", "../20261201T090000.000000005Z.log"} {
		if _, err := ParseLogName(bad); err == nil {
			t.Errorf("%q is a name of a log", bad)
		}
	}
}

func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	at := func(n int) string { return LogName(time.Unix(int64(n), 0)) }
	var paths []string
	for n := range 8 {
		paths = append(paths, "spark/a/"+at(n))
	}
	paths = append(paths, "spark/b/"+at(0))
	got := newestLogs(slices.Clone(paths))
	if len(got) != LogsOfOne+1 || got[0] != "spark/a/"+at(7) || !slices.Contains(got, "spark/b/"+at(0)) || slices.Contains(got, "spark/a/"+at(2)) {
		t.Errorf("kept are %q", got)
	}
	for n := range 2 * LogsOfAll {
		paths = append(paths, fmt.Sprintf("spark/c%d/%s", n, at(100+n)))
	}
	if got := newestLogs(paths); len(got) != LogsOfAll || slices.Contains(got, "spark/b/"+at(0)) {
		t.Errorf("%d are kept, want the newest %d", len(got), LogsOfAll)
	}
}
