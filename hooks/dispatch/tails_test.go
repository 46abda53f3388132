package dispatch

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// logsOf are what the outcomes of app keep, oldest first.
func (b *bench) logsOf(app dm.ApplicationName) (list []string) {
	b.box.mu.Lock()
	defer b.box.mu.Unlock()
	for _, o := range b.box.apps[app].outcomes {
		for _, l := range o.Logs {
			list = append(list, fmt.Sprintf("%s/%s %s", l.Type, l.Component, strings.TrimSpace(string(l.Text))))
		}
	}
	return list
}

func keeping(cfg *Config) { cfg.LogTail = 1 << 10 }

// TestLastLinesAreKept before what wrote them goes, and when it has ended.
func TestLastLinesAreKept(t *testing.T) {
	t.Parallel()
	withEngine(t, keeping, func(b *bench, engine *plugintest.FakeEngine) {
		change := func(verb dm.Verb, state dm.WantedState, components ...string) {
			b.box.accept("noon", verb, state, components...)
			b.d.Wake("noon")
			b.pass(time.Hour)
		}
		change(dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		change(dm.Start, dm.WantStarted)
		if got := b.logsOf("noon"); len(got) > 0 {
			t.Errorf("%q are kept of what has not run", got)
		}
		engine.Becomes("noon", "nightly", "RUNNING", true)
		b.pass(time.Hour)
		engine.Becomes("noon", "nightly", "FAILED", true)
		b.pass(time.Hour)
		engine.Becomes("noon", "nightly", "RUNNING", true)
		b.pass(3 * time.Hour)
		change(dm.Stop, dm.WantCreated)
		change(dm.Start, dm.WantStarted)
		change(dm.Change, dm.WantStarted, "oozie/other")
		change(dm.Destroy, dm.WantDestroyed)
		want := []string{"oozie/nightly FAILED", "oozie/nightly RUNNING", "oozie/nightly SUBMITTED", "oozie/other SUBMITTED"}
		if got := b.logsOf("noon"); !slices.Equal(got, want) {
			t.Errorf("kept are %q, want %q", got, want)
		}
	})
}

// mute is an engine whose logs nobody can read.
type mute struct{ *plugintest.FakeEngine }

func (mute) StreamLogs(ctx context.Context, w io.Writer, _ dm.PluginRecord, _ dm.ComponentName, _ int, _ bool) error {
	_, err := io.WriteString(w, "as far as it came\n")
	<-ctx.Done()
	return err
}

// TestLogsHoldUpNoChange for more than a few seconds.
func TestLogsHoldUpNoChange(t *testing.T) {
	t.Parallel()
	withEngine(t, func(cfg *Config) {
		keeping(cfg)
		others := cfg.Plugins
		cfg.Plugins = func(t dm.ComponentType) (dm.Plugin, bool) {
			p, ok := others(t)
			if engine, is := p.(*plugintest.FakeEngine); is {
				return mute{engine}, true
			}
			return p, ok
		}
	}, func(b *bench, _ *plugintest.FakeEngine) {
		b.box.accept("noon", dm.Create, dm.WantStarted, "oozie/nightly")
		b.d.Wake("noon")
		b.pass(time.Second)
		b.box.accept("noon", dm.Stop, dm.WantCreated)
		b.d.Wake("noon")
		b.pass(tailTime + time.Second)
		if o := b.box.last(t, "noon"); o.Phase != dm.Created {
			t.Errorf("it is %s, want it stopped", o.Phase)
		}
		if got := b.logsOf("noon"); !slices.Equal(got, []string{"oozie/nightly as far as it came"}) {
			t.Errorf("kept are %q, want what came in time", got)
		}
	})
}

func TestTailHoldsTheEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		writes []string
		want   string
	}{
		"nothing":            {nil, ""},
		"all":                {[]string{"a\n", "b"}, "a\nb\n"},
		"whole lines":        {[]string{"12345678\n", "abc\n", "def\n"}, "abc\ndef\n"},
		"one write too much": {[]string{"x\n", "12345678901\nabc\ndef\n"}, "abc\ndef\n"},
		"one long line":      {[]string{"abcdefghijklmnopqrstuvwxyz"}, "qrstuvwxyz\n"},
		"many writes":        {strings.SplitAfter(strings.Repeat("line\n", 50), ""), "line\n"},
		"exactly":            {[]string{"abcd\nefgh\n"}, "abcd\nefgh\n"},
	} {
		w := tail{most: 10}
		for _, text := range c.writes {
			if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
				t.Fatalf("%s: wrote %d, %v", name, n, err)
			}
		}
		if got := string(w.lines()); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
