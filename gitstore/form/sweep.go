package form

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

const (
	sweptFile   = "swept.json" // the list in a sweep's commit
	sweepAction = "sweep"
)

// Swept is one workspace that a sweep took.
type Swept struct {
	User  dm.UserName `json:"user"`
	Main  string      `json:"main"`  // tip that it had
	Began string      `json:"began"` // tip of the blank workspace that it began with
	Marks []Mark      `json:"marks,omitempty"`
	Seq   uint64      `json:"seq,omitempty"` // main is what the record up to this event made
}

// Brought is what refs/brought/head of the workspace said; without marks for what an
// earlier server swept.
func (x Swept) Brought() Brought {
	return Brought{Began: plumbing.NewHash(x.Began), Marks: x.Marks, Seq: x.Seq, Main: plumbing.NewHash(x.Main)}
}

// Sweep is one commit of the record of sweeps.
type Sweep struct {
	Time   time.Time
	Rule   string // which workspaces it takes
	Taken  []Swept
	Before plumbing.Hash // zero for the first

	Commit plumbing.Hash // its name, which Encode fills in
}

// Encode adds swept.json, the tree and the commit to w.
func (x *Sweep) Encode(w repo.Adder) error {
	body, err := json.MarshalIndent(x.Taken, "", "  ")
	if err != nil {
		return err
	}
	tree, err := addFile(w, sweptFile, body)
	if err != nil {
		return err
	}
	message := append(stampTrailers(dm.Stamp{Verb: sweepAction, Time: x.Time}), trailers{{trailerRule, x.Rule}}...).
		message(fmt.Sprintf("Sweep %d workspaces", len(x.Taken)))
	x.Commit, err = AddCommit(w, ServerSignature(x.Time), tree, message, x.Before)
	return err
}

// DecodeSweep is the inverse of Encode.
func DecodeSweep(objects *repo.Objects, commit *object.Commit) (Sweep, error) {
	said := ParseTrailers(commit.Message)
	x := Sweep{Time: parseStamp(said, commit.Author).Time, Rule: said[trailerRule], Before: ParentOf(commit), Commit: commit.Hash}
	file, err := objects.File(commit.TreeHash, sweptFile)
	if err != nil {
		return x, err
	}
	return x, json.Unmarshal(file, &x.Taken)
}
