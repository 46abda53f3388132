package pushtest

import (
	"fmt"
	"strings"
)

// Harmless are odd pushes that are accepted, and why that does no harm.
func Harmless() []Case {
	fine := func(name, why string, body func(Target) []byte) Case {
		return Case{Name: "fine/" + name, Fine: why, Body: body}
	}
	pack := func(name, why string, make func(t Target, good []Item) []byte) Case {
		c := withPack(name, "", make)
		return fine(name, why, c.Body)
	}
	return []Case{
		fine("forged trailers", "only commits that the server makes are believed", func(t Target) []byte {
			return t.push(t.good(Forged)...)
		}),
		fine("an override with ESC for nobody", "it is recorded as JSON, and no component gets it", func(t Target) []byte {
			t.Spec = strings.Replace(t.Spec, "{", `{"overrides": {"jupyter": {"\u001b[2J": {"topic": 1}}}, `, 1)
			return t.Good()
		}),
		pack("a blob that nothing names", "it is thrown away", func(_ Target, good []Item) []byte {
			return Pack(append(good, ItemOf(BlobOf(Unnamed)))...)
		}),
		pack("a thin pack on what is there", "it is a file of the same repository", func(t Target, good []Item) []byte {
			return Pack(append(good, onNamed(t.Blob, insert(delta(uint64(len(t.BlobContent)), 4), "thin")))...)
		}),
		pack("a chain of 3,000 deltas", "git unpacks it without recursion", func(t Target, good []Item) []byte {
			before := BlobOf(t.Spec)
			for i := range 3000 {
				text := fmt.Sprintf("link %d", i)
				good = append(good, onNamed(before.ID(), insert(delta(uint64(len(before.Data)), uint64(len(text))), text)))
				before = BlobOf(text)
			}
			return Pack(good...)
		}),
		{Name: "fine/bytes behind the pack", Fine: "nobody reads them", Luck: true, Body: func(t Target) []byte {
			return append(t.Good(), strings.Repeat("garbage", 1000)...)
		}},
		fine("a merge that is neither of its parents", "only application.json is taken from it", func(t Target) []byte {
			other := BlobOf("evil")
			tree := TreeOf(File("components", other))
			root := CommitOf(tree.ID(), "Another history.\n")
			objects := append([]Object{other, tree, root}, t.good("An evil merge.\n", root.ID())...)
			return t.push(objects...)
		}),
		fine("capabilities that nobody knows", "they are passed over", func(t Target) []byte {
			objects := t.good("A commit.\n")
			return request{
				commands: []string{t.command(objects[len(objects)-1].ID())}, pack: Pack(itemsOf(objects)...),
				capabilities: capabilities + " atomic quiet session-id=\x1b[2J make-coffee agent=" + strings.Repeat("a", 1000),
			}.bytes()
		}),
	}
}

// Unnamed is the content of a blob that a harmless push brings and nothing
// names: it must not enter the record.
const Unnamed = "a password: hunter2"

// Forged is a message that claims to be the server's, of a deployment by root.
const Forged = `Create noon-run from other-9.9.9

DM-Action: create
DM-User: root
DM-Auth: password
DM-Via: manager
DM-Impersonator: console
DM-Reason: forged
DM-Time: 2001-01-01T00:00:00Z
DM-Request-Id: forged
DM-Package: other-9.9.9
DM-Deployment: 77
DM-Information: forged
DM-Phase: STARTED
DM-Desired: 0123456789012345678901234567890123456789
DM-Pushed: 0123456789012345678901234567890123456789
`
