package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// ObservedFile is the whole outcome, for the server; the commit's trailers say
// the same to people.
const ObservedFile = "observed.json"

// Outcome is one commit on refs/observed/head: what came of a change.
type Outcome struct {
	dm.Stamp    // of the change, at the time of the outcome
	Application dm.ApplicationName
	Package     dm.PackageRef
	Observation dm.Observation // observed.json
	Before      plumbing.Hash  // zero for the first
	Logs        plumbing.Hash  // tree of what components wrote last, see AddLogs; zero for nothing

	Commit plumbing.Hash // its name, which Encode fills in
}

// Encode adds observed.json, the tree and the commit to w; Logs is there.
func (o *Outcome) Encode(w repo.Adder) error {
	body, err := json.MarshalIndent(o.Observation, "", "  ")
	if err == nil && bytes.Contains(body, []byte(`\ufffd`)) { // there is what is no UTF-8, and reads otherwise
		o.Observation = dm.Observation{}
		if err = json.Unmarshal(body, &o.Observation); err == nil {
			body, err = json.MarshalIndent(o.Observation, "", "  ")
		}
	}
	if err != nil {
		return fmt.Errorf("encode %s: %w", ObservedFile, err)
	}
	blob, err := w.Add(plumbing.BlobObject, append(body, '\n'))
	if err != nil {
		return err
	}
	top := repo.NewTree()
	top.Set(ObservedFile, filemode.Regular, repo.Known(blob))
	if !o.Logs.IsZero() {
		top.Set(LogsTree, filemode.Dir, repo.Known(o.Logs))
	}
	tree, err := top.Write(w)
	if err != nil {
		return err
	}
	o.Time = o.Observation.Time
	message := append(stampTrailers(o.Stamp), trailers{
		{trailerPackage, o.Package.String()},
		{trailerDesired, string(o.Observation.Desired)},
		{trailerPhase, string(o.Observation.Phase)},
		{trailerInformation, o.Observation.Information},
		{trailerHealth, o.Observation.Health},
	}...).message(fmt.Sprintf("Observe %s %s", o.Application, o.Observation.Phase))
	o.Commit, err = AddCommit(w, ServerSignature(o.Time), tree, message, o.Before)
	return err
}

// DecodeOutcome is the inverse of Encode.
func DecodeOutcome(objects *repo.Objects, h plumbing.Hash) (Outcome, error) {
	commit, err := objects.Commit(h)
	if err != nil {
		return Outcome{}, err
	}
	o := ParseOutcome(commit)
	file, err := objects.File(commit.TreeHash, ObservedFile)
	if err != nil {
		return o, err
	}
	o.Observation = dm.Observation{}
	if err := json.Unmarshal(file, &o.Observation); err != nil {
		return o, repo.Broken(repo.Observed, "%s at %s: %v", ObservedFile, h, err)
	}
	switch e, err := objects.Entry(commit.TreeHash, LogsTree); {
	case err == nil:
		o.Logs = e.Hash
	case !errors.Is(err, object.ErrEntryNotFound):
		return o, err
	}
	return o, nil
}

// ParseOutcome reads what the message alone says. Of Observation that is all but
// what is in effect and the plugins' records.
func ParseOutcome(commit *object.Commit) Outcome {
	said := ParseTrailers(commit.Message)
	o := Outcome{Stamp: parseStamp(said, commit.Author), Before: ParentOf(commit), Commit: commit.Hash}
	if words := strings.Fields(commit.Message); len(words) > 1 {
		o.Application = dm.ApplicationName(words[1])
	}
	o.Package, _ = dm.ParsePackageRef(said[trailerPackage]) // zero when damaged; verify tells
	o.Observation = dm.Observation{
		Desired: dm.Revision(said[trailerDesired]), Phase: dm.Phase(said[trailerPhase]), Information: said[trailerInformation],
		Health: said[trailerHealth], Time: o.Time,
	}
	return o
}
