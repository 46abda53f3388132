package v1

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// integer reads a query parameter that is an integer from 1 to most; it is 0
// when absent. Where most is unlimited, what is too large to hold stands for
// the largest.
func integer(r *http.Request, name string, most int) (int, error) {
	text, given, err := apihandlers.Query(r, name)
	if err != nil || !given {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 31)
	switch {
	case err == nil && n >= 1 && n <= uint64(most):
		return int(n), nil
	case errors.Is(err, strconv.ErrRange) && most == unlimited:
		return 0, dm.Errorf(dm.Invalid, "parse query", "the query parameter %s is too large a number", name)
	}
	bounds := "greater than 0"
	if most != unlimited {
		bounds = fmt.Sprintf("from 1 to %d", most)
	}
	return 0, dm.Errorf(dm.Invalid, "parse query", "the query parameter %s must be an integer %s", name, bounds)
}

const unlimited = 1<<31 - 1

func page(r *http.Request) (p dm.Page, err error) {
	if p.Limit, err = integer(r, "limit", dm.MaxPage); err != nil {
		return p, err
	}
	text, given, err := apihandlers.Query(r, "before")
	if err != nil || !given {
		return p, err
	}
	if p.Before, err = dm.ParseRevision(text); err != nil {
		err = dm.Errorf(dm.Invalid, "parse query", "the query parameter before must be a revision of 40 hexadecimal digits, as returned in next")
	}
	return p, err
}

func version(r *http.Request, name string) (dm.Version, error) {
	text, given, err := apihandlers.Query(r, name)
	if err != nil {
		return dm.Version{}, err
	}
	v, err := dm.ParseVersion(text)
	if !given || err != nil {
		return v, dm.Errorf(dm.Invalid, "parse query", "the query parameter %s must be a version, for example %s=1.0.0", name, name)
	}
	return v, nil
}

// clockSkew is how far ahead of ours a client's clock may be.
const clockSkew = time.Minute

// instant reads the query parameter time, which must not be later than now. What
// is later by no more than clockSkew is the now of another clock, and is taken as
// ours.
func instant(r *http.Request, now time.Time) (time.Time, error) {
	const op = "parse query"
	text, given, err := apihandlers.Query(r, "time")
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, text)
	switch {
	case !given || err != nil || at.UTC().Year() < 0: // JSON has no years before 0
		fault := dm.Errorf(dm.Invalid, op, "the query parameter time must be an RFC 3339 time, for example time=2025-01-06T10:20:30Z")
		if strings.Contains(text, " ") {
			return at, fault.WithHint("encode + as %%2B")
		}
		return at, fault
	case at.After(now) && !at.After(now.Add(clockSkew)):
		at = now
	case at.After(now):
		return at, dm.Errorf(dm.Invalid, op, "the query parameter time is in the future")
	}
	return at.UTC(), nil
}

const (
	plainText = "text/plain"
	jsonText  = "application/json"

	eventStream = "text/event-stream"
)

// wantsText tells whether the answer shall be text and not JSON: by the query
// parameter format, and by Accept where that is absent.
func wantsText(w http.ResponseWriter, r *http.Request) (bool, error) {
	format, given, err := apihandlers.Query(r, "format")
	switch {
	case err != nil:
		return false, err
	case format == "text":
		return true, nil
	case format == "json":
		return false, nil
	case given:
		return false, dm.Errorf(dm.Invalid, "parse query", "the query parameter format must be json or text")
	}
	w.Header().Add("Vary", "Accept")
	weight := weights(r)
	return weight[plainText] > weight[jsonText], nil
}

// weights reads how much a client wants each type of content.
func weights(r *http.Request) map[string]float64 {
	weight := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue // nothing is asked for in a way that could be followed
		}
		weight[kind] = 1
		if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil {
			weight[kind] = q
		}
	}
	return weight
}
