package hooks

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// Bounds of what one push is told.
const (
	maxLines = 200
	maxLine  = 1000 // bytes
	maxName  = 120  // bytes of a ref's name or an option in a sentence
)

// talk is the conversation with the hook program of one push. One goroutine uses it.
type talk struct {
	conn  *net.UnixConn
	lines int
	hints []string // said once, at the end
	err   error    // of the first write that failed: the program is gone
}

// send writes one frame. After a failure it does nothing: a change that is
// being accepted is brought to its end whether anybody hears of it or not.
func (t *talk) send(kind byte, payload []byte) {
	if t.err != nil {
		return
	}
	if t.err = t.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); t.err == nil {
		t.err = hook.WriteFrame(t.conn, kind, payload)
	}
}

// Write sends to the program's standard output.
func (t *talk) Write(p []byte) (int, error) {
	t.send(hook.Output, p)
	return len(p), t.err
}

// exit says the hints and ends the program.
func (t *talk) exit(code int) {
	for _, hint := range t.hints {
		t.say("hint: " + hint)
	}
	if t.lines > maxLines {
		t.send(hook.Saying, fmt.Appendf(nil, "and %d more lines\n", t.lines-maxLines))
	}
	t.send(hook.Exit, []byte{byte(code)})
}

// say shows one line to the person who pushes, who sees it behind "remote:".
func (t *talk) say(text string) {
	if t.lines++; t.lines <= maxLines {
		t.send(hook.Saying, []byte(line(text, maxLine)+"\n"))
	}
}

// sayError shows an error: its message, each finding on a line of its own, and
// at the end of all what the person can do. It tells whether the server is at
// fault.
func (t *talk) sayError(about string, err error) (failed bool) {
	r := replyTo(err)
	if about != "" {
		about += ": "
	}
	t.say(about + r.message)
	for _, f := range r.findings {
		t.say("  " + f.String())
	}
	if r.hint != "" && !slices.Contains(t.hints, r.hint) {
		t.hints = append(t.hints, r.hint)
	}
	return r.failed
}

// sayNotes shows what the server remarks on a ref; each note names what it is
// about.
func (t *talk) sayNotes(notes []string) {
	for _, note := range notes {
		t.say(note)
	}
}

// reply is what a push is told of an error.
type reply struct {
	message  string
	findings []dm.Finding
	hint     string
	failed   bool // the server is at fault, not the push
}

// replyTo is the table from kind to message and hint.
func replyTo(err error) reply {
	var e *dm.Error
	if !errors.As(err, &e) {
		e = &dm.Error{Kind: dm.Internal, Message: "internal error"}
	}
	r := reply{message: e.Message, findings: e.Findings, hint: e.Hint}
	fallback := ""
	switch e.Kind {
	case dm.Stale:
		fallback = "it was changed concurrently: pull, then push again"
	case dm.Unavailable:
		fallback, r.failed = "push again later", true
	case dm.Internal:
		fallback, r.failed = "see the log of the server", true
	case dm.Unauthenticated:
		fallback = "sign in again"
	}
	if r.hint == "" {
		r.hint = fallback
	}
	return r
}

// line makes text safe to show on a terminal: one line of about most bytes.
func line(text string, most int) string {
	whole := dm.Shown(cut(text, most))
	if short := cut(whole, most); short != whole || len(text) > most {
		return short + "…"
	}
	return whole
}

// cut is the beginning of text, of most bytes at most and without half a letter.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// quoted writes a name from outside into a sentence: plain when it is plain,
// else in quotes and in ASCII.
func quoted(name string) string {
	short := cut(name, maxName)
	q := short
	if short == "" || strings.IndexFunc(short, unplain) >= 0 {
		q = strconv.QuoteToASCII(short)
	}
	if short != name {
		q += "…"
	}
	return q
}

// unplain tells whether a character makes a name need quotes.
func unplain(r rune) bool {
	alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !alnum && !strings.ContainsRune("._/@+-", r)
}
