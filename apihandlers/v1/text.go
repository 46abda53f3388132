package v1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// wordsOf tells in plain words how two deployments differ. git apply passes
// over these lines.
func wordsOf(app dm.ApplicationName, d dm.Difference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, from deployment %d to deployment %d\n\n", app, d.From.Deployment, d.To.Deployment)
	if d.From.Package != d.To.Package {
		fmt.Fprintf(&b, "The package changed from %s to %s.\n", d.From.Package, d.To.Package)
	}
	for _, o := range d.Overrides {
		b.WriteString(overrideWords(o) + "\n")
	}
	if !slices.Equal(d.From.Audience, d.To.Audience) {
		fmt.Fprintf(&b, "The audience changed from %s to %s.\n", subjects(d.From.Audience), subjects(d.To.Audience))
	}
	return b.String() + filesWords(d)
}

func packageWordsOf(d dm.Difference) string {
	return fmt.Sprintf("from %s to %s\n\n", d.From.Package, d.To.Package) + filesWords(d)
}

func filesWords(d dm.Difference) string {
	switch n := len(d.Files) + d.FilesMore; n {
	case 0:
		return "No file changed.\n"
	case 1:
		return "1 file changed.\n\n"
	default:
		return fmt.Sprintf("%d files changed.\n\n", n)
	}
}

func overrideWords(o dm.OverrideChange) string {
	name := visible(fmt.Sprintf("%s/%s/%s", o.Type, o.Component, o.Key))
	switch {
	case o.From == nil:
		return fmt.Sprintf("The override %s was added: %s.", name, value(o.To))
	case o.To == nil:
		return fmt.Sprintf("The override %s was removed; it was %s.", name, value(o.From))
	}
	return fmt.Sprintf("The override %s changed from %s to %s.", name, value(o.From), value(o.To))
}

func subjects(list []dm.Subject) string {
	if len(list) == 0 {
		return "nobody"
	}
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = visible(string(s))
	}
	return strings.Join(texts, ", ")
}

// value is v as JSON on one line.
func value(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return "a value that cannot be shown"
	}
	return visible(strings.TrimSuffix(b.String(), "\n"))
}

// visible is dm.Harmless with JSON's escapes: what it is given is JSON.
func visible(s string) string {
	return dm.Harmless(s, func(bad string) string {
		return apihandlers.EscapeRunes(bad, func(rune) bool { return false })
	})
}

// writeText answers with words and the patch. The answer begins when its first
// piece is full or the patch is there whole: until then a failure is told as
// every other one.
func writeText(w http.ResponseWriter, r *http.Request, words string, patch func(context.Context, io.Writer) error) error {
	connection := &steady{w: w}
	out := bufio.NewWriterSize(connection, piece)
	_, err := out.WriteString(words)
	if err == nil {
		err = patch(r.Context(), out)
	}
	if err == nil {
		err = out.Flush()
	}
	bound(w) // for the answer of a failure too
	if connection.err != nil {
		return dm.Errorf(dm.Invalid, "v1.writeText", "the client stopped reading").Because(connection.err)
	}
	return dm.Wrap("v1.writeText", err)
}

// A client gets pieceTime for each piece of an answer of unknown length: one
// that reads may take any time, one that stands still is cut.
const (
	piece     = 32 << 10
	pieceTime = 30 * time.Second
)

// bound gives the next piece of an answer its time. Where the connection takes
// no deadline (a test's recorder) none is needed.
func bound(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pieceTime))
}

// steady is an answer of text that is written piece by piece.
type steady struct {
	w   http.ResponseWriter
	err error // of the connection
}

func (s *steady) Write(p []byte) (n int, err error) {
	s.w.Header().Set("Content-Type", plainText+"; charset=utf-8")
	for len(p) > 0 && s.err == nil {
		bound(s.w)
		var m int
		m, s.err = s.w.Write(p[:min(len(p), piece)])
		n, p = n+m, p[m:]
	}
	return n, s.err
}
