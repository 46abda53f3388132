package pushtest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// Kind is the type of an object, as packs number it.
type Kind byte

// The kinds of objects.
const (
	Commit Kind = 1
	Tree   Kind = 2
	Blob   Kind = 3
	Tag    Kind = 4
)

func (k Kind) String() string {
	return map[Kind]string{Commit: "commit", Tree: "tree", Blob: "blob", Tag: "tag"}[k]
}

// Object is a git object. Nothing says that it is well-formed.
type Object struct {
	Kind Kind
	Data string
}

// ID is the object's name.
func (o Object) ID() string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00%s", o.Kind, len(o.Data), o.Data)
	return hex.EncodeToString(h.Sum(nil))
}

// Entry is one line of a tree.
type Entry struct {
	Mode, Name, ID string
}

// File is an ordinary entry.
func File(name string, blob Object) Entry { return Entry{"100644", name, blob.ID()} }

// Folder is an entry for a tree.
func Folder(name string, tree Object) Entry { return Entry{"40000", name, tree.ID()} }

// TreeOf makes a tree with the entries in the order given.
func TreeOf(entries ...Entry) Object {
	var b strings.Builder
	for _, e := range entries {
		id, err := hex.DecodeString(e.ID)
		if err != nil {
			panic(err) // a case of this package is wrong
		}
		b.WriteString(e.Mode + " " + e.Name + "\x00" + string(id))
	}
	return Object{Tree, b.String()}
}

// BlobOf makes a blob.
func BlobOf(content string) Object { return Object{Blob, content} }

// Person is an author line without its key.
const Person = "Mallory <mallory@elsewhere> 1700000000 +0000"

// CommitOf makes a commit as git would. A parent that is "" is left out.
func CommitOf(tree, message string, parents ...string) Object {
	return Object{Commit, "tree " + tree + "\n" + parentLines(parents...) + "author " + Person + "\ncommitter " + Person + "\n\n" + message}
}

func parentLines(parents ...string) string {
	var b strings.Builder
	for _, p := range parents {
		if p != "" {
			b.WriteString("parent " + p + "\n")
		}
	}
	return b.String()
}

// TagOf makes an annotated tag.
func TagOf(object, kind, name string) Object {
	return Object{Tag, "object " + object + "\ntype " + kind + "\ntag " + name + "\ntagger " + Person + "\n\nA tag.\n"}
}
