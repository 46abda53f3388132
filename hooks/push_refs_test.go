package hooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// hostileNames are names of refs that a package must refuse, with what the
// refusal says.
var hostileNames = []struct{ name, why string }{
	{"HEAD", "not the full name"},
	{"main", "not the full name"},
	{"1.2.3", "not the full name"},
	{"", "not the full name"},
	{"-x", "not the full name"},
	{"--upload-pack=touch x", "not the full name"},
	{"../../etc/passwd", "not the full name"},
	{"/refs/tags/1.2.3", "not the full name"},
	{"REFS/tags/1.2.3", "not the full name"},
	{"objects/info/alternates", "not the full name"},
	{"refs/replace/" + strings.Repeat("a", 40), "replace ref"},
	{"refs/replace", "replace ref"},
	{"refs/Replace/x", "replace ref"},
	{"refs/deployed/1.2.3", "read-only"},
	{"refs/archives/" + strings.Repeat("b", 40), "read-only"},
	{"refs/superseded/1.2.3/1", "read-only"},
	{"refs/deployments/1", "read-only"},
	{"refs/observed/head", "read-only"},
	{"refs/observed", "read-only"},
	{"refs/heads/main", "read-only"},
	{"refs/heads/main/x", "read-only"},
	{"refs/heads/MAIN", "read-only"},
	{"refs/heads/apps/noon-run", "read-only"},
	{"refs/heads/feature", "tags of versions"},
	{"refs/heads/-x", "tags of versions"},
	{"refs/heads/$(touch x)", "tags of versions"},
	{"refs/heads/`id`", "tags of versions"},
	{"refs/heads/;id", "tags of versions"},
	{"refs/heads/<script>alert(1)</script>", "tags of versions"},
	{"refs/heads/a\u202eb", "tags of versions"},
	{"refs/heads/\xff\xfe", "tags of versions"},
	{"refs/heads/" + strings.Repeat("0", 40), "tags of versions"},
	{"refs/heads/HEAD", "tags of versions"},
	{"refs/heads/a.lock", "tags of versions"},
	{"refs/heads/a..b", "tags of versions"},
	{"refs/heads/\x1b]0;title\x07", "tags of versions"},
	{"refs/heads/\x1b[2Jgone", "tags of versions"},
	{"refs/heads/" + strings.Repeat("a", 5000), "tags of versions"},
	{"refs/heads/a@{1}", "tags of versions"},
	{"refs/stash", "tags of versions"},
	{"refs/notes/commits", "tags of versions"},
	{"refs/pull/1/head", "tags of versions"},
	{"refs/dry-run/1.2.3", "tags of versions"},
	{"refs/tags", "tags of versions"},
	{"refs/", "tags of versions"},
	{"refs//tags/1.2.3", "tags of versions"},
	{"refs/tags/", "is not a version tag"},
	{"refs/tags/v", "is not a version tag"},
	{"refs/tags/1", "is not a version tag"},
	{"refs/tags/1.2", "is not a version tag"},
	{"refs/tags/1.2.3.4", "is not a version tag"},
	{"refs/tags/01.2.3", "is not a version tag"},
	{"refs/tags/1.2.-3", "is not a version tag"},
	{"refs/tags/+1.2.3", "is not a version tag"},
	{"refs/tags/1.2.3 ", "is not a version tag"},
	{"refs/tags/1.2.3\r", "is not a version tag"},
	{"refs/tags/1.2.3\t", "is not a version tag"},
	{"refs/tags/1.2.3/", "is not a version tag"},
	{"refs/tags/1.2.3/x", "is not a version tag"},
	{"refs/tags/../heads/main", "is not a version tag"},
	{"refs/tags/1.2.9999999999", "is not a version tag"},
	{"refs/tags/V1.2.3", "is not a version tag"},
	{"refs/tags/vv1.2.3", "is not a version tag"},
	{"refs/tags/1.2.3-rc1", "is not a version tag"},
	{"refs/tags/flow-1.2.3", "is not a version tag"},
	{"refs/tags/１.2.3", "is not a version tag"},
	{"refs/tags/1.2.3^{}", "is not a version tag"},
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	if len(hostileNames) < 40 {
		t.Errorf("only %d names", len(hostileNames))
	}
	for _, h := range hostileNames {
		refs, faults := understand(flowPackage, []command{{"", dm.Revision(oneID), h.name}})
		if len(refs) != 0 || len(faults) != 1 {
			t.Errorf("%q: %d refs and %d faults, want the name refused", h.name, len(refs), len(faults))
			continue
		}
		got := dm.Public(faults[0])
		if !strings.Contains(got, h.why) || !strings.Contains(got, quoted(h.name)) {
			t.Errorf("%q: got %q, want the name and %q", h.name, got, h.why)
		}
		if len(got) > 600 || strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r > '~' && r != '…' }) >= 0 {
			t.Errorf("%q: the sentence is not fit for a terminal: %q", h.name, got)
		}
		if h.why == "not the full name" || h.name == "refs/heads/main" {
			continue
		}
		if refs, _ := understand(noonApplication, []command{{"", dm.Revision(oneID), h.name}}); len(refs) != 0 {
			t.Errorf("%q: an application takes it", h.name)
		}
	}
}

func TestUnderstand(t *testing.T) {
	t.Parallel()
	one := dm.Revision(oneID)
	many := make([]command, maxRefs)
	for n := range many {
		many[n] = command{"", one, fmt.Sprintf("refs/tags/1.0.%d", n)}
	}
	tests := []struct {
		name       string
		repository dm.Repository
		commands   []command
		refs       []string // names understood
		faults     []string // beginnings
	}{
		{"a version", flowPackage, []command{{"", one, "refs/tags/1.2.3"}}, []string{"refs/tags/1.2.3"}, nil},
		{"a version with v", flowPackage, []command{{"", one, "refs/tags/v0.0.0"}}, []string{"refs/tags/v0.0.0"}, nil},
		{"ten versions", flowPackage, many, []string{
			"refs/tags/1.0.0", "refs/tags/1.0.1", "refs/tags/1.0.2", "refs/tags/1.0.3", "refs/tags/1.0.4",
			"refs/tags/1.0.5", "refs/tags/1.0.6", "refs/tags/1.0.7", "refs/tags/1.0.8", "refs/tags/1.0.9",
		}, nil},
		{"eleven", flowPackage, append(slices.Clone(many), command{"", one, "refs/tags/1.1.0"}), nil, []string{"the push has 11 refs, at most 10 are allowed"}},
		{"a good one beside bad ones", flowPackage, []command{{one, "", "refs/tags/1.0.0"}, {"", one, "refs/tags/1.1.0"}, {one, one, "refs/tags/1.2.0"}},
			[]string{"refs/tags/1.1.0"}, []string{"refs/tags/1.0.0 cannot be deleted", "refs/tags/1.2.0 already exists"}},
		{"a version twice", flowPackage, []command{{"", one, "refs/tags/1.0.0"}, {"", one, "refs/tags/v1.0.0"}},
			[]string{"refs/tags/1.0.0"}, []string{"refs/tags/1.0.0 and refs/tags/v1.0.0 are the same version"}},
		{"a delete of what is not there", flowPackage, []command{{"", "", "refs/tags/1.0.0"}}, nil, []string{"refs/tags/1.0.0 cannot be deleted"}},
		{"main of an application", noonApplication, []command{{one, one, "refs/heads/main"}}, []string{"refs/heads/main"}, nil},
		{"main twice", noonApplication, []command{{one, one, "refs/heads/main"}, {one, one, "refs/heads/main"}},
			[]string{"refs/heads/main"}, []string{"refs/heads/main and refs/heads/main are the same version"}},
		{"main deleted", noonApplication, []command{{one, "", "refs/heads/main"}}, nil, []string{"refs/heads/main cannot be deleted"}},
		{"a tag of an application", noonApplication, []command{{"", one, "refs/tags/1.0.0"}}, nil, []string{"refs/tags/1.0.0 is not accepted: an application has only the branch main"}},
		{"a workspace", dm.Repository{Kind: dm.WorkspaceRepository, Name: "ana"}, []command{{"", one, "refs/heads/main"}}, nil,
			[]string{"the server alone writes this repository: it syncs it"}},
		{"an unknown kind", dm.Repository{Kind: "homes"}, []command{{"", one, "refs/heads/main"}}, nil, []string{"the server alone writes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refs, faults := understand(tt.repository, tt.commands)
			var names []string
			for _, r := range refs {
				names = append(names, r.Name)
			}
			if fmt.Sprint(names) != fmt.Sprint(tt.refs) {
				t.Errorf("refs = %q, want %q", names, tt.refs)
			}
			if len(faults) != len(tt.faults) {
				t.Fatalf("faults = %v, want %q", faults, tt.faults)
			}
			for n, want := range tt.faults {
				if got := dm.Public(faults[n]); !strings.HasPrefix(got, want) {
					t.Errorf("fault %d = %q, want %q", n, got, want)
				}
			}
		})
	}
}

func TestReadAsked(t *testing.T) {
	t.Parallel()
	one := packets("", tagLine)
	manyNames := slices.Repeat([]string{tagLine}, 5000)
	tests := []struct {
		name, in          string
		commands, options int
		ok                bool
	}{
		{"one", one, 1, 0, true},
		{"blanks and line ends belong to the name", packets("", "refs/tags/a b\r", tagLine+"\n"), 2, 0, true},
		{"many", packets("", manyNames...), 5000, 0, true},
		{"options", withOptions([]string{"dry-run", "reason=x\n"}, tagLine), 1, 2, true},
		{"more options than are kept", withOptions(slices.Repeat([]string{"dry-run"}, 500), tagLine), 1, maxOptions + 1, true},
		{"none", packets(""), 0, 0, false},
		{"no end", strings.TrimSuffix(one, flushPacket), 0, 0, false},
		{"no end of the options", strings.TrimSuffix(withOptions(nil, tagLine), flushPacket), 0, 0, false},
		{"no name", strings.ReplaceAll(one, fmt.Sprintf("%04x%s %s %s", 4+82+len(tagLine), zeroID, oneID, tagLine), "0056"+zeroID+" "+oneID+" ")[:len(one)-len(tagLine)-1], 0, 0, false},
		{"a short id", strings.Replace(one, fmt.Sprintf("%04x%s", 4+82+len(tagLine), zeroID), fmt.Sprintf("%04x0", 4+82+len(tagLine)-39), 1), 0, 0, false},
		{"an id in capitals", strings.Replace(one, oneID, strings.Repeat("A", 40), 1), 0, 0, false},
		{"a list without end", packets("", slices.Repeat([]string{tagLine + strings.Repeat("x", 60000)}, maxCommands/60000+1)...), 0, 0, false},
		{"another protocol", "000dversion=20000", 0, 0, false},
		{"no protocol", zeroID + " " + oneID + " " + tagLine + "\n", 0, 0, false},
		{"a length that is none", "zzzz", 0, 0, false},
		{"a short packet", "0002", 0, 0, false},
		{"an end in the middle", one[:60], 0, 0, false},
		{"nothing", "", 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var answer strings.Builder
			got, err := readAsked(strings.NewReader(tt.in), &answer)
			if (err == nil) != tt.ok {
				t.Fatalf("error = %v, want it understood: %v", err, tt.ok)
			}
			if tt.ok && (len(got.commands) != tt.commands || len(got.options) != tt.options || !strings.HasPrefix(answer.String(), "00")) {
				t.Errorf("got %d commands and %d options, answer %q; want %d and %d", len(got.commands), len(got.options), &answer, tt.commands, tt.options)
			}
			for _, c := range got.commands {
				if !strings.Contains(tt.in, " "+c.name) {
					t.Errorf("the name %q is not what was sent", c.name)
				}
			}
		})
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options []string
		want    pushOptions
		faults  []string
	}{
		{"none", nil, pushOptions{}, nil},
		{"both", []string{"reason= new rack", "dry-run"}, pushOptions{dry: true, reason: "new rack"}, nil},
		{"all", []string{"accept-faults", "reason=x", "dry-run"}, pushOptions{dry: true, faulty: true, reason: "x"}, nil},
		{"faults twice", []string{"accept-faults", "accept-faults"}, pushOptions{faulty: true}, []string{"duplicate push option accept-faults"}},
		{"faults with a value", []string{"accept-faults=yes"}, pushOptions{}, []string{"accept-faults=yes"}},
		{"an empty reason", []string{"reason="}, pushOptions{}, nil},
		{"an equals sign in the reason", []string{"reason=a=b"}, pushOptions{reason: "a=b"}, nil},
		{"twice", []string{"dry-run", "dry-run"}, pushOptions{dry: true}, []string{"duplicate push option dry-run"}},
		{"a value where none belongs", []string{"dry-run=1"}, pushOptions{}, []string{"dry-run=1"}},
		{"capitals", []string{"Dry-Run", "Reason=x"}, pushOptions{}, []string{"Dry-Run", "Reason=x"}},
		{"nothing", []string{""}, pushOptions{}, []string{`unknown push option ""`}},
		{"two lines", []string{"reason=a\nDM-User: root"}, pushOptions{}, []string{"one line"}},
		{"no UTF-8", []string{"reason=\xff"}, pushOptions{}, []string{"UTF-8"}},
		{"a long reason", []string{"reason=" + strings.Repeat("x", 1001)}, pushOptions{}, []string{"1001 bytes"}},
		{"many", strings.Split(strings.Repeat("dry-run ", 9)+"x", " "), pushOptions{dry: true}, []string{"more than 8", "duplicate push option", "duplicate push option", "duplicate push option", "duplicate push option", "duplicate push option", "duplicate push option", "duplicate push option"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, faults := parseOptions(tt.options)
			if tt.faults == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if len(faults) != len(tt.faults) {
				t.Fatalf("faults = %v, want %q", faults, tt.faults)
			}
			for n, want := range tt.faults {
				if !strings.Contains(faults[n].Error(), want) {
					t.Errorf("fault %d = %v, want %q", n, faults[n], want)
				}
			}
		})
	}
}

// FuzzHookInput feeds what git hands to the hook: nothing may panic, and no name
// that is taken may be other than plain.
func FuzzHookInput(f *testing.F) {
	for _, h := range hostileNames {
		f.Add(packets("", h.name))
	}
	f.Add(packets("", tagLine, mainLine))
	f.Add(packets("atomic", tagLine))
	f.Add(withOptions([]string{"dry-run"}, tagLine))
	f.Fuzz(func(t *testing.T, in string) {
		asked, err := readAsked(strings.NewReader(in), discard{})
		if err != nil {
			return
		}
		for _, r := range []dm.Repository{flowPackage, noonApplication} {
			refs, _ := understand(r, asked.commands)
			for _, ref := range refs {
				if quoted(ref.Name) != ref.Name || !strings.HasPrefix(ref.Name, "refs/") {
					t.Errorf("%s takes %q", r.Kind, ref.Name)
				}
			}
			if len(refs) > maxRefs {
				t.Errorf("%d refs", len(refs))
			}
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestLine(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"plain", "flow-1.2.3 is published; größer ✓", "flow-1.2.3 is published; größer ✓"},
		{"a colour", "\x1b[31mred", `\x1b[31mred`},
		{"lines", "a\r\nb\u2028c", `a\r\nb\u2028c`},
		{"turned round", "a\u202eb", `a\u202eb`},
		{"no UTF-8", "a\xffb", `a\xffb`},
		{"C1 control", "a\u009b2Jb", `a\u009b2Jb`},
		{"long", strings.Repeat("x", 50), strings.Repeat("x", 40) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := line(tt.in, 40); got != tt.want {
				t.Errorf("line = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReplyTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want reply
	}{
		{dm.Errorf(dm.Invalid, "op", "wrong"), reply{message: "wrong", failed: false}},
		{dm.Errorf(dm.Forbidden, "op", "not yours").WithHint("ask"), reply{message: "not yours", hint: "ask", failed: false}},
		{dm.Errorf(dm.Stale, "op", "moved"), reply{message: "moved", hint: "it was changed concurrently: pull, then push again", failed: false}},
		{dm.Errorf(dm.Unavailable, "op", "down"), reply{message: "down", hint: "push again later", failed: true}},
		{dm.Errorf(dm.Unauthenticated, "op", "who"), reply{message: "who", hint: "sign in again", failed: false}},
		{errBare, reply{message: "internal error", hint: "see the log of the server", failed: true}},
	}
	for _, tt := range tests {
		if got := replyTo(tt.err); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%v: reply = %+v, want %+v", tt.err, got, tt.want)
		}
	}
}
