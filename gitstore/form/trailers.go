package form

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
)

// The trailers that commits and tags of the record carry, in the order in
// which they are written.
const (
	trailerAction       = "DM-Action"
	TrailerUser         = "DM-User"
	trailerAuth         = "DM-Auth"
	trailerVia          = "DM-Via"
	TrailerImpersonator = "DM-Impersonator" // the service that acted for the user
	TrailerReason       = "DM-Reason"
	trailerTime         = "DM-Time" // RFC 3339 with nanoseconds; git's own times have seconds
	trailerRequest      = "DM-Request-Id"
	trailerSeq          = "DM-Seq" // number of the event that this records, since format 3; see dm.Event
	trailerPackage      = "DM-Package"
	trailerDeployment   = "DM-Deployment" // of every change of an application: the number that it made, or that is in force
	trailerDesired      = "DM-Desired"
	trailerPhase        = "DM-Phase"
	trailerInformation  = "DM-Information"
	trailerArchive      = "DM-Archive"
	trailerArchiveName  = "DM-Archive-Name"
	trailerSha256       = "DM-Archive-Sha256"
	trailerTop          = "DM-Top-Directory"
	trailerHealth       = "DM-Health"    // of an outcome that tells only how components do
	trailerOvertakes    = "DM-Overtakes" // the change before, which waited and was given up
	trailerRule         = "DM-Rule"      // of a sweep: which workspaces it takes
	trailerFindings     = "DM-Findings"  // JSON, a list of texts: why the version can't be deployed
	trailerPushed       = "DM-Pushed"    // the parent that a push proposed; it is no commit of the record
)

// trailers is one block of them. Pairs with an empty value are left out.
type trailers [][2]string

// stampTrailers are those that every commit and tag begins with, whatever its
// kind: who, when, how.
func stampTrailers(s dm.Stamp) trailers {
	return trailers{
		{trailerAction, string(s.Verb)},
		{TrailerUser, string(s.User)},
		{trailerAuth, s.Auth},
		{trailerVia, s.Via},
		{TrailerImpersonator, string(s.Impersonator)},
		{TrailerReason, s.Reason},
		{trailerTime, s.Time.UTC().Format(time.RFC3339Nano)},
		{trailerRequest, s.RequestID},
		{trailerSeq, numberText(s.Seq)},
	}
}

// message is the subject followed by the trailers.
func (t trailers) message(subject string) string {
	var b strings.Builder
	b.WriteString(dm.OneLine(subject) + "\n\n")
	for _, pair := range t {
		if value := dm.Printable(pair[1]); value != "" {
			b.WriteString(pair[0] + ": " + value + "\n")
		}
	}
	return b.String()
}

// hashText and numberText are empty for a zero, which leaves the trailer out.
func hashText(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

func numberText[N int | uint64](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// ParseTrailers reads the last paragraph of a message that this server wrote.
func ParseTrailers(message string) map[string]string {
	message = strings.TrimRight(message, "\n")
	if i := strings.LastIndex(message, "\n\n"); i >= 0 {
		message = message[i+2:]
	}
	t := map[string]string{}
	for line := range strings.SplitSeq(message, "\n") {
		if key, value, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(key, "DM-") {
			t[key] = value
		}
	}
	return t
}

// parseStamp is the inverse of stampTrailers. git's own time, by, stands in for
// one that is damaged.
func parseStamp(t map[string]string, by object.Signature) dm.Stamp {
	at, err := time.Parse(time.RFC3339Nano, t[trailerTime])
	if err != nil {
		at = by.When
	}
	seq, _ := strconv.ParseUint(t[trailerSeq], 10, 63) // 0 when damaged; verify tells
	return dm.Stamp{
		Verb: dm.Verb(t[trailerAction]), User: dm.UserName(t[TrailerUser]), Auth: t[trailerAuth],
		Via: t[trailerVia], Impersonator: dm.UserName(t[TrailerImpersonator]), Reason: t[TrailerReason],
		Time: at.UTC(), RequestID: t[trailerRequest], Seq: seq,
	}
}

// FormatList writes a list of texts as a trailer holds it; parseList reads it,
// and a damaged one as none.
func FormatList(list []string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(list) != nil {
		return "" // texts always encode
	}
	return strings.TrimSpace(b.String())
}

func parseList(text string) (list []string) {
	if text == "" || json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	return list
}

// serverName is the committer of everything; the author is the person.
const serverName = "deployment-manager"

// ServerSignature is the committer of every commit.
func ServerSignature(at time.Time) object.Signature {
	return object.Signature{Name: serverName, Email: serverName + "@pnda", When: at.UTC().Truncate(time.Second)}
}

// personSignature is the author line for a verified user. git's syntax has no
// room for '<', '>' and line ends; the DM-User trailer has the exact name.
func personSignature(user dm.UserName, at time.Time) object.Signature {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>\n\x00", r) {
			return '_'
		}
		return r
	}, string(user))
	if strings.Trim(name, " .,:;\"'") == "" {
		name = "anonymous" // git drops names made of these only
	}
	return object.Signature{Name: name, Email: name + "@pnda", When: at.UTC().Truncate(time.Second)}
}
