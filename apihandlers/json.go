package apihandlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"

	dm "github.com/pndaproject/deployment-manager"
)

// WriteJSON answers with status and v. v must be made of values that encode;
// what does not is answered as an internal error.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	data, err := encode(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"status":"UNKNOWN","information":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	// A failed write means that the client is gone: nobody is left to tell.
	_, _ = w.Write(data)
}

// encode leaves <, > and & as they are, because people read the sentences in a
// terminal. No browser takes them for markup: the type says JSON and nosniff
// holds it to that.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Null is s as JSON text, or null when it is empty, as PNDA writes unknown
// texts.
func Null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// ReadObject reads the body of r as one JSON object within dm's limits.
func ReadObject(w http.ResponseWriter, r *http.Request) (dm.Properties, error) {
	body, err := OpenBody(w, r, BodyLimits{Size: dm.MaxJSONBytes})
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if fault := body.Fault(); fault != nil {
		return nil, fault
	}
	if err != nil {
		return nil, dm.Wrap("read body", err)
	}
	return dm.ParseProperties(data)
}

// Query returns the value of a query parameter of the URL; given is false when
// it is absent. A body is never looked at: curl labels archives as forms.
// Repeated parameters and queries that do not parse are Invalid.
func Query(r *http.Request, name string) (value string, given bool, err error) {
	const op = "parse query"
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", false, dm.Errorf(dm.Invalid, op, "malformed query string")
	}
	list := values[name]
	switch len(list) {
	case 0:
		return "", false, nil
	case 1:
		return list[0], true, nil
	}
	return "", false, dm.Errorf(dm.Invalid, op, "duplicate query parameter %s", name)
}

// Recency reads the query parameter recency: an integer of least or more, or
// otherwise what it is when absent.
func Recency(r *http.Request, least, otherwise int) (int, error) {
	text, given, err := Query(r, "recency")
	if err != nil || !given {
		return otherwise, err
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // n is the largest number then, which means all as well
	}
	if err != nil || int(n) < least {
		return 0, dm.Errorf(dm.Invalid, "parse query", "the query parameter recency must be an integer greater than or equal to %d", least)
	}
	return int(n), nil
}

// NotNull makes an absent list an empty one, which JSON writes as [].
func NotNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// EscapeRunes writes the characters of s that keep does not take as JSON's \u
// does: in UTF-16, so that some become two.
func EscapeRunes(s string, keep func(rune) bool) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case keep(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
