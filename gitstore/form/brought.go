package form

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Mark is a moment of a workspace's chain at which everything was looked at that is
// in effect then, whatever had happened before: the first one begins the chain,
// others tell that the user is in other groups, or what could not be read.
type Mark struct {
	Seq     uint64               `json:"seq"`               // the record up to this event
	Groups  []string             `json:"groups,omitempty"`  // those of the user from here on, in byte order
	Proved  bool                 `json:"proved,omitempty"`  // the groups were told with the user's sign-in
	Without []dm.ApplicationName `json:"without,omitempty"` // out of service then; left as they are until the next mark
}

// Brought is the commit at refs/brought/head of a workspace: where its chain began,
// the marks, how far it was brought, and what was fetched last. With the record it
// says all that main is. It stands on the commit of main that it brought.
type Brought struct {
	Began     plumbing.Hash // main before the first mark
	Marks     []Mark
	Seq       uint64        // main is what the record up to this event makes of Began and Marks
	Main      plumbing.Hash // its name
	Tree      plumbing.Hash // and its tree
	Time      time.Time     // when it was written
	Fetched   uint64        // main as it was brought up to this event is what was fetched last; 0 for none
	FetchedAt time.Time

	Commit plumbing.Hash // its name, which Encode fills in
}

// Last is the newest mark, a zero one when there is none.
func (b *Brought) Last() Mark {
	if n := len(b.Marks); n > 0 {
		return b.Marks[n-1]
	}
	return Mark{}
}

const (
	broughtAction    = "bring"
	trailerBegan     = "DM-Began"
	trailerMarks     = "DM-Marks" // JSON
	trailerFetched   = "DM-Fetched"
	trailerFetchedAt = "DM-Fetched-Time"
)

// Encode adds the commit to w.
func (b *Brought) Encode(w repo.Adder) error {
	marks, err := json.Marshal(b.Marks)
	if err != nil {
		return err
	}
	at := ""
	if b.Fetched > 0 {
		at = b.FetchedAt.UTC().Format(time.RFC3339Nano)
	}
	message := append(stampTrailers(dm.Stamp{Verb: broughtAction, Time: b.Time, Seq: b.Seq}), trailers{
		{trailerBegan, hashText(b.Began)}, {trailerMarks, string(marks)}, {trailerFetched, numberText(b.Fetched)}, {trailerFetchedAt, at},
	}...).message(fmt.Sprintf("Bring up to event %d", b.Seq))
	b.Commit, err = AddCommit(w, ServerSignature(b.Time), b.Tree, message, b.Main)
	return err
}

// DecodeBrought is the inverse of Encode.
func DecodeBrought(commit *object.Commit) (Brought, error) {
	said := ParseTrailers(commit.Message)
	stamp := parseStamp(said, commit.Author)
	b := Brought{
		Began: plumbing.NewHash(said[trailerBegan]), Seq: stamp.Seq, Main: ParentOf(commit), Tree: commit.TreeHash, Time: stamp.Time,
		Commit: commit.Hash,
	}
	if err := json.Unmarshal([]byte(said[trailerMarks]), &b.Marks); err != nil || len(b.Marks) == 0 || b.Began.IsZero() || b.Main.IsZero() {
		return b, repo.Broken(repo.Brought, "commit %s does not say where its chain began", commit.Hash)
	}
	if text := said[trailerFetched]; text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		at, bad := time.Parse(time.RFC3339Nano, said[trailerFetchedAt])
		if err != nil || bad != nil {
			return b, repo.Broken(repo.Brought, "commit %s does not say what was fetched when", commit.Hash)
		}
		b.Fetched, b.FetchedAt = n, at.UTC()
	}
	return b, nil
}
