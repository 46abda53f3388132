package apihandlers_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeLogs are engines in which some components write.
type fakeLogs struct{}

var (
	_ dm.Logs     = fakeLogs{}
	_ dm.KeptLogs = fakeLogs{}
)

func (fakeLogs) HasLogs(t dm.ComponentType) bool { return t == "sparkStreaming" || t == "flink" }

func (fakeLogs) StreamLogs(ctx context.Context, w io.Writer, r dm.PluginRecord, component dm.ComponentName, lines int, follow bool) error {
	switch component {
	case "count":
		for n := range min(lines, 3) {
			if _, err := fmt.Fprintf(w, "%s line %d\n", r.Type, n); err != nil {
				return err
			}
		}
		if follow {
			<-ctx.Done()
		}
		return nil
	case "away":
		return dm.Errorf(dm.Unavailable, "fake", "the API server is away")
	}
	return dm.Errorf(dm.NotFound, "fake", "nothing of %s runs", component)
}

func (fakeLogs) KeptLog(_ context.Context, _ dm.ApplicationName, t dm.ComponentType, component dm.ComponentName) (dm.KeptLog, bool, error) {
	if component != "done" {
		return dm.KeptLog{}, false, nil
	}
	at := time.Date(2025, 1, 6, 10, 20, 30, 0, time.UTC)
	return dm.KeptLog{Type: t, Component: component, Time: at, Text: []byte("one\ntwo\nthree\n")}, true, nil
}

// TestLogsAreFollowed as they come, and silence is no failure.
func TestLogsAreFollowed(t *testing.T) {
	t.Parallel()
	ending := make(chan struct{})
	server := httptest.NewServer(newHarness(t, options{ending: ending}).manager)
	defer server.Close()
	answer, err := http.Get(server.URL + "/api/v1/applications/job/logs?follow=true&user.name=ana")
	must(t, err)
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for n := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("sparkStreaming line %d", n) {
			t.Fatalf("line %d is %q, %v", n, lines.Text(), lines.Err())
		}
	}
	close(ending) // who follows is let go
	if lines.Scan() {
		t.Errorf("one more line: %q", lines.Text())
	}
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("answered %d, %s", answer.StatusCode, kind)
	}
}
