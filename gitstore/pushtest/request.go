package pushtest

import (
	"fmt"
	"strings"
)

// Zero stands for no object in a command.
const Zero = "0000000000000000000000000000000000000000"

// capabilities are those of an ordinary client.
const capabilities = "report-status side-band-64k agent=pushtest"

// Packet writes one pkt-line.
func Packet(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// Flush is the empty packet.
const Flush = "0000"

// request is the body of a push.
type request struct {
	before       []string // packets before the commands
	commands     []string // "old new ref"
	capabilities string   // "" means those of an ordinary client
	after        string   // between the commands and the pack
	pack         []byte
}

func (r request) bytes() []byte {
	if r.capabilities == "" {
		r.capabilities = capabilities
	}
	if r.after == "" && len(r.commands) > 0 && strings.Contains(r.commands[0], " refs/tags/") {
		// What a deploy would say of a package is not what these pushes are about.
		r.capabilities += " push-options"
		r.after = Packet("accept-faults") + Flush
	}
	var b strings.Builder
	for _, line := range r.before {
		b.WriteString(Packet(line))
	}
	for i, c := range r.commands {
		if i == 0 {
			c += "\x00 " + r.capabilities
		}
		b.WriteString(Packet(c))
	}
	b.WriteString(Flush + r.after)
	return append([]byte(b.String()), r.pack...)
}

// Target is where a push goes and what is there.
type Target struct {
	Ref  string // that the push asks for
	Old  string // what it names now, "" for nothing
	Spec string // an application.json that would be a good change

	Tree, Blob     string // objects that the repository has
	BlobContent    string // of Blob
	Main           string // the tree of what the ref names now
	Hidden         string // a commit of the record that no branch and no tag leads to
	ForeignCommit  string // objects that only another repository has
	ForeignTree    string
	ForeignBlob    string
	ForeignContent string // of the blob
}

// command asks for the target's ref to name id.
func (t Target) command(id string) string { return t.old() + " " + id + " " + t.Ref }

func (t Target) old() string {
	if t.Old == "" {
		return Zero
	}
	return t.Old
}

// top makes a tree that is fine but for the entries that are added at its end.
// Their names are to sort behind "application.json".
func (t Target) top(entries ...Entry) []Object {
	spec := BlobOf(t.Spec)
	return []Object{spec, TreeOf(append([]Entry{File("application.json", spec)}, entries...)...)}
}

// push is the request that brings objects, the last of which the ref shall name.
func (t Target) push(objects ...Object) []byte {
	seen := map[Object]bool{}
	var once []Object // git takes no object twice
	for _, o := range objects {
		if !seen[o] {
			once = append(once, o)
		}
		seen[o] = true
	}
	return t.send(objects[len(objects)-1].ID(), Pack(itemsOf(once)...))
}

// send is the request for id with any pack.
func (t Target) send(id string, pack []byte) []byte {
	return request{commands: []string{t.command(id)}, pack: pack}.bytes()
}

// good is a push that would be accepted.
func (t Target) good(message string, parents ...string) []Object {
	objects := t.top()
	return append(objects, CommitOf(objects[1].ID(), message, append([]string{t.Old}, parents...)...))
}

// Good is a request that is accepted.
func (t Target) Good() []byte { return t.push(t.good("A good push.\n")...) }

// Case is one push and the answer it must get.
type Case struct {
	Name string
	Body func(Target) []byte
	Text string // stands in what the client is told
	Fine string // why it does no harm, when it is accepted
	Luck bool   // git takes it or not, as it happens
}

// withTree is a push of a commit whose tree has the entries, and of the objects
// that they name.
func withTree(name, text string, make func(t Target) (more []Object, entries []Entry)) Case {
	return Case{Name: name, Text: text, Body: func(t Target) []byte {
		more, entries := make(t)
		top := t.top(entries...)
		return t.push(append(append(more, top...), CommitOf(top[1].ID(), "A commit.\n", t.Old))...)
	}}
}

// withEntry is a push of a tree with one bad entry.
func withEntry(name, text, mode, path, content string) Case {
	return withTree(name, text, func(Target) ([]Object, []Entry) {
		b := BlobOf(content)
		return []Object{b}, []Entry{{mode, path, b.ID()}}
	})
}
