package pushtest

import (
	"fmt"
	"strings"
)

// Protocol are pushes that do not follow git's protocol, or ask what no client
// may ask.
func Protocol() []Case {
	with := func(name, text string, change func(t Target, id string, r *request)) Case {
		return Case{Name: "protocol/" + name, Text: text, Body: func(t Target) []byte {
			objects := t.good("A commit.\n")
			id := objects[len(objects)-1].ID()
			r := request{commands: []string{t.command(id)}, pack: Pack(itemsOf(objects)...)}
			change(t, id, &r)
			return r.bytes()
		}}
	}
	raw := func(name string, body func(t Target, good []byte) []byte) Case {
		return Case{Name: "protocol/" + name, Body: func(t Target) []byte { return body(t, t.Good()) }}
	}
	ref := func(name string) Case {
		return with(fmt.Sprintf("ref %q", name), "", func(_ Target, id string, r *request) { r.commands = []string{Zero + " " + id + " " + name} })
	}
	cases := []Case{
		raw("nothing", func(Target, []byte) []byte { return nil }),
		raw("only a flush", func(Target, []byte) []byte { return []byte(Flush) }),
		raw("rubbish", func(Target, []byte) []byte { return []byte(strings.Repeat("\xff\x00zz", 1000)) }),
		raw("length that is no number", func(_ Target, good []byte) []byte { return append([]byte("zzzz"), good[4:]...) }),
		raw("length of 3", func(_ Target, good []byte) []byte { return append([]byte("0003"), good...) }),
		raw("length beyond the end", func(_ Target, good []byte) []byte { return append([]byte("fff0"), good[4:]...) }),
		raw("cut off in the commands", func(_ Target, good []byte) []byte { return good[:50] }),
		raw("no flush", func(t Target, good []byte) []byte {
			return []byte(strings.Replace(string(good), Flush+"PACK", "PACK", 1))
		}),
		raw("a pack alone", func(t Target, good []byte) []byte { return Pack() }),
		with("no pack", "", func(_ Target, _ string, r *request) { r.pack = nil }),
		with("delimiter in the commands", "", func(_ Target, _ string, r *request) { r.pack = append([]byte("0001"), r.pack...) }),
		raw("delimiter in the place of a flush", func(_ Target, good []byte) []byte {
			return []byte(strings.Replace(string(good), Flush+"PACK", "0001PACK", 1))
		}),
		with("11 commands", "at most 10", func(t Target, id string, r *request) {
			for i := range 10 {
				r.commands = append(r.commands, Zero+" "+id+" refs/tags/v7.0."+fmt.Sprint(i))
			}
		}),
		with("5,000 commands", "at most 10", func(t Target, id string, r *request) {
			for i := range 5000 {
				r.commands = append(r.commands, Zero+" "+id+" refs/tags/v7.0."+fmt.Sprint(i))
			}
		}),
		with("the same ref twice", "", func(_ Target, _ string, r *request) { r.commands = append(r.commands, r.commands[0]) }),
		with("good and bad together", "", func(_ Target, id string, r *request) {
			r.commands = append(r.commands, Zero+" "+id+" refs/heads/topic")
		}),
		with("deletes it", "deleted", func(t Target, _ string, r *request) {
			r.commands, r.pack = []string{t.Hidden + " " + Zero + " " + t.Ref}, nil
		}),
		with("deletes what is not there", "", func(t Target, _ string, r *request) {
			r.commands, r.pack = []string{t.old() + " " + Zero + " " + t.Ref}, nil
		}),
		with("from what it never was", "", func(t Target, id string, r *request) { r.commands = []string{t.Hidden + " " + id + " " + t.Ref} }),
		with("from what does not exist", "", func(t Target, id string, r *request) {
			r.commands = []string{BlobOf("never sent").ID() + " " + id + " " + t.Ref}
		}),
		with("SHA-256", "", func(_ Target, _ string, r *request) { r.capabilities = capabilities + " object-format=sha256" }),
		with("SHA-256 names", "", func(t Target, id string, r *request) {
			r.commands = []string{t.old() + Zero[:24] + " " + id + Zero[:24] + " " + t.Ref}
		}),
		with("short names", "", func(t Target, id string, r *request) { r.commands = []string{"0 " + id[:7] + " " + t.Ref} }),
		with("an option that is unknown", "colour", func(_ Target, _ string, r *request) {
			r.capabilities, r.after = capabilities+" push-options", Packet("colour=red")+Flush
		}),
		with("1,000 options", "more than 8", func(_ Target, _ string, r *request) {
			r.capabilities, r.after = capabilities+" push-options", strings.Repeat(Packet("reason=x"), 1000)+Flush
		}),
		with("options without an end", "", func(_ Target, _ string, r *request) {
			r.capabilities, r.after, r.pack = capabilities+" push-options", Packet("reason=x"), nil
		}),
		with("options for nobody", "", func(_ Target, _ string, r *request) { r.after = Packet("dry-run") + Flush }),
		with("reason with ESC", "", func(_ Target, _ string, r *request) {
			r.capabilities, r.after = capabilities+" push-options", Packet("reason=\x1b[2J")+Flush
		}),
		raw("a certificate", func(t Target, _ []byte) []byte {
			objects := t.good("A commit.\n")
			cert := "certificate version 0.1\npusher Root <root@pnda>\nnonce x\n\n" + t.command(objects[len(objects)-1].ID()) + "\n" +
				"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
			body := Packet("push-cert\x00 " + capabilities)
			for line := range strings.Lines(cert) {
				body += Packet(line)
			}
			return append([]byte(body+Packet("push-cert-end\n")+Flush), Pack(itemsOf(objects)...)...)
		}),
		with("a shallow line of rubbish", "", func(_ Target, _ string, r *request) { r.before = []string{"shallow x"} }),
		with("a shallow line that is long", "", func(_ Target, _ string, r *request) { r.before = []string{"shallow " + strings.Repeat("a", 4000)} }),
		with("20,000 shallow lines", "", func(_ Target, _ string, r *request) {
			for i := range 20_000 {
				r.before = append(r.before, fmt.Sprintf("shallow %040x", i))
			}
		}),
	}
	for _, name := range []string{
		"HEAD", "refs/replace/" + BlobOf("x").ID(), "refs/archives/" + BlobOf("x").ID(), "refs/superseded/1.0.0/1", "refs/deployed/1.0.0",
		"refs/deployments/1", "refs/observed", "refs/heads/apps/x", "refs/notes/commits", "refs/stash", "refs/tags/latest", "refs/tags/v01.0.0",
		"refs/heads/main/x", "refs/heads/../../x", "objects/info/alternates", "refs/heads/a\nb", "refs/heads/\x1b[2J", "refs/heads/\xff", "",
	} {
		cases = append(cases, ref(name))
	}
	return cases
}
