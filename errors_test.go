package dm_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func TestWrapKeepsWhatTheClientMayKnow(t *testing.T) {
	t.Parallel()
	cause := errors.New("open /var/lib/secret: denied")
	below := dm.Errorf(dm.Conflict, "store.Start", "the application is %s", "STARTED").In(dm.Started).WithHint("stop it first").Because(cause)
	below.Findings = []dm.Finding{{Type: "jupyter", Component: "c", Path: "a", Message: "missing"}}
	err := dm.Wrap("api.Start", fmt.Errorf("around: %w", below))
	var e *dm.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T", err)
	}
	if e.Op != "api.Start" || e.Kind != dm.Conflict || e.Phase != dm.Started || len(e.Findings) != 1 {
		t.Errorf("got %+v", e)
	}
	if got, want := dm.Public(err), "the application is STARTED: jupyter/c/a: missing; stop it first"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if text := err.Error(); strings.Count(text, "the application is STARTED") != 1 || !strings.Contains(text, "denied") || !strings.Contains(text, "store.Start") {
		t.Errorf("the log's text is %q", text)
	}
}

// TestWrapSaysTheMessageOnce wraps an error as often as the rooms do: the log
// has its message and its cause once, each operation, and what was said around.
func TestWrapSaysTheMessageOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("device busy")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"not wrapped", dm.Errorf(dm.Stale, "git.Move", "the ref is locked").Because(cause), "git.Move: the ref is locked: device busy"},
		{"thrice", dm.Wrap("api.Start", dm.Wrap("store.Start", dm.Wrap("store.move", dm.Errorf(dm.Stale, "git.Move", "the ref is locked").Because(cause)))),
			"api.Start: the ref is locked [store.Start, store.move, git.Move]: device busy"},
		{"with words around", dm.Wrap("api.Start", fmt.Errorf("workspace of ana: %w", dm.Wrap("store.move", dm.Errorf(dm.Stale, "git.Move", "the ref is locked")))),
			"api.Start: the ref is locked [workspace of ana: store.move, git.Move]"},
		{"by the same operation", dm.Wrap("store.Start", dm.Wrap("store.Start", dm.Errorf(dm.Stale, "store.Start", "the ref is locked"))),
			"store.Start: the ref is locked"},
		{"one of two", dm.Wrap("api.Start", errors.Join(dm.Errorf(dm.Stale, "git.Move", "the ref is locked"), cause)), "api.Start: the ref is locked: git.Move: the ref is locked\ndevice busy"},
		{"a foreign one", dm.Wrap("api.Start", dm.Wrap("store.Start", cause)), "api.Start: internal error [store.Start]: device busy"},
		{"another message", dm.Errorf(dm.Unavailable, "api.Start", "try again").Because(dm.Wrap("store.move", dm.Errorf(dm.Stale, "git.Move", "the ref is locked").Because(cause))),
			"api.Start: try again: store.move: the ref is locked [git.Move]: device busy"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if !errors.Is(c.err, cause) && strings.Contains(c.want, cause.Error()) {
			t.Errorf("%s: the cause is lost", c.name)
		}
	}
}

func TestForeignErrorsStayInside(t *testing.T) {
	t.Parallel()
	err := dm.Wrap("op", fmt.Errorf("read /secret/path: %w", io.ErrUnexpectedEOF))
	if dm.KindOf(err) != dm.Internal || strings.Contains(dm.Public(err), "secret") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, public %q", err, dm.Public(err))
	}
	if got := dm.Public(io.EOF); got != "internal error" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(err.Error(), "/secret/path") {
		t.Errorf("the log's text %q has no cause", err)
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	if dm.Wrap("op", nil) != nil {
		t.Error("Wrap(nil) is not nil")
	}
	for _, c := range []struct {
		err  error
		want dm.Kind
	}{
		{nil, ""}, {io.EOF, dm.Internal}, {dm.Errorf(dm.Stale, "op", "x"), dm.Stale},
		{fmt.Errorf("a: %w", dm.Errorf(dm.NotFound, "op", "x")), dm.NotFound},
		{dm.Errorf(dm.Invalid, "op", "x").Because(dm.Errorf(dm.Internal, "op", "y")), dm.Invalid},
	} {
		if got := dm.KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	list := []dm.Finding{
		{Message: "whole"},
		{Type: "oozie", Message: "of a type"},
		{Path: "a/b", Message: "of a path"},
		{Type: "oozie", Component: "c", Message: "of a component"},
	}
	err := dm.Refuse("op", "refused", list)
	want := "refused: whole; oozie: of a type; a/b: of a path; oozie/c: of a component"
	if got := err.Public(); got != want || err.Kind != dm.Invalid {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNextOf(t *testing.T) {
	t.Parallel()
	then := time.Date(2025, 1, 6, 10, 20, 30, 0, time.UTC)
	for _, c := range []struct {
		err  error
		next dm.Next
		at   time.Time
	}{
		{dm.Errorf(dm.Unavailable, "x", "away"), dm.Wait, time.Time{}},
		{dm.Wrap("y", dm.Errorf(dm.Unavailable, "x", "away").NotBefore(then)), dm.Wait, then},
		{fmt.Errorf("y: %w", dm.Errorf(dm.Unavailable, "x", "away").NotBefore(then)), dm.Wait, then},
		{errors.New("nil map"), dm.Suspect, time.Time{}},
		{dm.Errorf(dm.Internal, "x", "broken"), dm.Suspect, time.Time{}},
		{dm.Errorf(dm.Invalid, "x", "wrong").NotBefore(then), dm.Stall, time.Time{}},
		{dm.Errorf(dm.Forbidden, "x", "no quota"), dm.Stall, time.Time{}},
	} {
		if next, at := dm.NextOf(c.err); next != c.next || !at.Equal(c.at) {
			t.Errorf("NextOf(%v) = %v, %s, want %v, %s", c.err, next, at, c.next, c.at)
		}
	}
}
