package hooks

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// soon is how long a test waits for what must come.
const soon = 20 * time.Second

// await waits for c, which another goroutine closes or sends on.
func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(soon):
		t.Fatalf("%s did not happen in %s", what, soon)
	}
	return v
}

// TestSessionOrder calls the hooks in every order but the right one.
func TestSessionOrder(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	good := map[string]string{
		preReceive: lines(tagLine), procReceive: packets("", tagLine), postReceive: lines("refs/tags/1.2.3"),
	}
	tests := []struct {
		name  string
		hooks []string
		exits []int
	}{
		{"in order", []string{preReceive, procReceive, postReceive}, []int{0, 0, 0}},
		{"accept first", []string{procReceive, preReceive}, []int{1, 0}},
		{"relay first", []string{postReceive}, []int{1}},
		{"relay before accept", []string{preReceive, postReceive}, []int{0, 1}},
		{"judge twice", []string{preReceive, preReceive, procReceive}, []int{0, 1, 0}},
		{"accept twice", []string{preReceive, procReceive, procReceive}, []int{0, 0, 1}},
		{"judge again", []string{preReceive, procReceive, preReceive}, []int{0, 0, 1}},
		{"relay twice", []string{preReceive, procReceive, postReceive, postReceive}, []int{0, 0, 0, 1}},
		{"an unknown hook", []string{"update", preReceive}, []int{1, 0}},
		{"no hook", []string{"", preReceive}, []int{1, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &fakePush{repository: flowPackage}
			s, _ := b.open(p)
			for n, hook := range tt.hooks {
				got := b.call(s, hook, good[hook])
				if got.exit != tt.exits[n] {
					t.Errorf("%d. %s: exit %d, want %d; it says %q", n+1, hook, got.exit, tt.exits[n], got.err)
				}
				if tt.exits[n] == 1 && got.err != "this hook of the push is not awaited now\n" {
					t.Errorf("%d. %s says %q", n+1, hook, got.err)
				}
			}
			if _, accepted := p.calls(); len(accepted) > 1 {
				t.Errorf("accepted %q, want one at most", accepted)
			}
		})
	}
}

// TestStrangersAreSentAway calls hook programs that belong to no push.
func TestStrangersAreSentAway(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	p := &fakePush{repository: flowPackage}
	s, end := b.open(p)
	socket := socketVariable + "=" + b.server.place.socket
	tests := []struct {
		name        string
		environment []string
		want        string
	}{
		{"nothing", nil, "pre-receive: this repository takes pushes only through its server\n"},
		{"no session", []string{socket}, "pre-receive: this repository takes pushes only through its server\n"},
		{"a wrong session", []string{socket, sessionVariable + "=" + strings.Repeat("0", 32)}, "the server knows nothing of this push\n"},
		{"a part of a session", []string{socket, s.Environment[1][:len(s.Environment[1])-1]}, "the server knows nothing of this push\n"},
		{"a session in capitals", []string{socket, sessionVariable + "=" + strings.ToUpper(strings.TrimPrefix(s.Environment[1], sessionVariable+"="))}, "the server knows nothing of this push\n"},
		{"no server", []string{socketVariable + "=" + b.server.place.socket + ".gone", s.Environment[1]}, "pre-receive: the server can't be reached; push again when it is back\n"},
		{"options without end", append(slices.Clone(s.Environment), "GIT_PUSH_OPTION_COUNT=1", "GIT_PUSH_OPTION_0="+strings.Repeat("x", maxFrame)), "pre-receive: the push options are too long\n"},
	}
	for _, tt := range tests {
		got := b.call(dm.PushSession{Environment: tt.environment}, preReceive, lines(tagLine))
		if got.exit != 1 || !strings.HasSuffix(got.err, tt.want) {
			t.Errorf("%s: exit %d, %q; want 1, %q", tt.name, got.exit, got.err, tt.want)
		}
	}
	end()
	if got := b.call(s, preReceive, lines(tagLine)); got.exit != 1 || got.err != "the server knows nothing of this push\n" {
		t.Errorf("a session that has ended: exit %d, %q", got.exit, got.err)
	}
	if judged, _ := p.calls(); len(judged) > 0 {
		t.Errorf("judged %q, want nothing", judged)
	}
	b.wantPushes("packages", pushUnjudged, 1)
}

// TestOnlyWhatWasJudgedIsAccepted has proc-receive ask for something else.
func TestOnlyWhatWasJudgedIsAccepted(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	tests := []struct{ name, judged, asked string }{
		{"another ref", lines(tagLine), packets("", "refs/tags/9.9.9")},
		{"one more", lines(tagLine), packets("", tagLine, "refs/tags/9.9.9")},
		{"none", lines(tagLine), packets("")},
		{"another object", lines(tagLine), strings.ReplaceAll(packets("", tagLine), oneID, twoID)},
		// Two lines to pre-receive, one command to git.
		{"a line break in a name", lines(tagLine, "refs/tags/2.0.0"), packets("", tagLine+"\n"+zeroID+" "+oneID+" refs/tags/2.0.0")},
		{"too many", lines(tagLine), packets("", strings.Split(strings.Repeat(tagLine+" ", 11)+tagLine, " ")...)},
		{"another protocol", lines(tagLine), "000dversion=20000"},
		{"no protocol", lines(tagLine), lines(tagLine)},
		{"a length that is none", lines(tagLine), "zzzz"},
		{"a short packet", lines(tagLine), "0002"},
		{"an end in the middle", lines(tagLine), packets("", tagLine)[:60]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &fakePush{repository: flowPackage}
			s, _ := b.open(p)
			if got := b.call(s, preReceive, tt.judged); got.exit != 0 {
				t.Fatalf("pre-receive: exit %d, %q", got.exit, got.err)
			}
			got := b.call(s, procReceive, tt.asked)
			if got.exit == 0 || got.err == "" || strings.Contains(got.out, "ok ") {
				t.Errorf("exit %d, %q, %q; want a refusal", got.exit, got.out, got.err)
			}
			if _, accepted := p.calls(); len(accepted) > 0 {
				t.Errorf("accepted %q", accepted)
			}
		})
	}
}

// TestJudgeSaysEverything checks that good and bad refs, options and findings
// are told together, and that the hint comes once and last.
func TestJudgeSaysEverything(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	p := &fakePush{repository: flowPackage}
	p.judge = func(_ context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		if ref.Version.Major == 1 {
			return dm.PushOutcome{}, dm.Refuse("test", "it is no good", []dm.Finding{{Path: "a", Message: "one"}, {Path: "b", Message: "two"}}).WithHint("mend it")
		}
		return dm.PushOutcome{}, dm.Errorf(dm.Unavailable, "test", "the disk is full").WithHint("mend it")
	}
	s, _ := b.open(p)
	got := b.call(s, preReceive, lines("refs/tags/1.0.0", "refs/heads/x", "refs/tags/2.0.0"), "GIT_PUSH_OPTION_COUNT=1", "GIT_PUSH_OPTION_0=now")
	want := `the push option now is not known
refs/heads/x is not taken: a package takes tags of versions only
refs/tags/1.0.0: it is no good
  a: one
  b: two
refs/tags/2.0.0: the disk is full
hint: the push options are dry-run, accept-faults and reason=<text>
hint: push a tag named for the version, such as 1.2.3 or v1.2.3
hint: mend it
`
	if got.err != want || got.exit != 2 {
		t.Errorf("exit %d, it says\n%s\nwant 2 and\n%s", got.exit, got.err, want)
	}
}

// TestSayingHasAnEnd checks the bounds of what a person is told.
func TestSayingHasAnEnd(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	p := &fakePush{repository: noonApplication}
	p.judge = func(context.Context, dm.PushedRef) (dm.PushOutcome, error) {
		return dm.PushOutcome{}, dm.Refuse("test", strings.Repeat("ü", 5000), make([]dm.Finding, 5000))
	}
	s, _ := b.open(p)
	got := b.call(s, preReceive, lines(mainLine))
	said := strings.Split(strings.TrimSuffix(got.err, "\n"), "\n")
	if len(said) != maxLines+1 || len(said[0]) > maxLine+10 || said[maxLines] != "and 4801 more lines" {
		t.Errorf("%d lines, the first of %d bytes, the last %q", len(said), len(said[0]), said[len(said)-1])
	}
}

// TestPanicFailsOnePush checks that the server lives on.
func TestPanicFailsOnePush(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	s, end := b.open(&fakePush{repository: flowPackage, judge: func(context.Context, dm.PushedRef) (dm.PushOutcome, error) { panic("a parser's mistake") }})
	if got := b.call(s, preReceive, lines(tagLine)); got.exit != 2 || got.err != "internal error\n" {
		t.Errorf("exit %d, %q; want 2, internal error", got.exit, got.err)
	}
	end()
	b.wantPushes("packages", pushFailed, 1)
	s, _ = b.open(&fakePush{repository: flowPackage})
	if got := b.call(s, preReceive, lines(tagLine)); got.exit != 0 {
		t.Errorf("the next push: exit %d, %q", got.exit, got.err)
	}
}

// dial connects as a hook program that the test plays itself.
func (b *pushBench) dial(s dm.PushSession, hook, stdin string) *net.UnixConn {
	b.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: b.server.place.socket, Net: "unix"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	greeting, err := json.Marshal(hello{Version: frameVersion, Hook: hook, Session: lookup(s.Environment)(sessionVariable)})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct {
		kind    byte
		payload string
	}{{frameHello, string(greeting)}, {frameInput, stdin}, {frameInput, ""}} {
		if err := writeFrame(conn, f.kind, []byte(f.payload)); err != nil {
			b.Fatal(err)
		}
	}
	return conn
}

// TestClientVanishes checks what ends with the client, and what does not.
func TestClientVanishes(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	started, ended := make(chan struct{}), make(chan error, 1)
	judging := &fakePush{repository: flowPackage, judge: func(ctx context.Context, _ dm.PushedRef) (dm.PushOutcome, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return dm.PushOutcome{}, ctx.Err()
	}}
	s, end := b.open(judging)
	conn := b.dial(s, preReceive, lines(tagLine))
	await(t, "the judgement", started)
	conn.Close()
	await(t, "the end of the judgement", ended)
	end()
	b.wantPushes("packages", pushFailed, 1)

	release, accepting := make(chan struct{}), make(chan struct{})
	p := &fakePush{repository: flowPackage}
	p.accept = func(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		close(accepting)
		<-release
		return p.moved(ref), ctx.Err()
	}
	s, end = b.open(p)
	if got := b.call(s, preReceive, lines(tagLine)); got.exit != 0 {
		t.Fatalf("pre-receive: %q", got.err)
	}
	conn = b.dial(s, procReceive, packets("", tagLine))
	await(t, "the change", accepting)
	conn.Close()
	closed := make(chan struct{})
	go func() { end(); close(closed) }()
	select {
	case <-closed:
		t.Error("the session ended while its change was being accepted")
	default:
	}
	close(release)
	await(t, "the end of the session", closed)
	b.wantPushes("packages", pushAccepted, 1)

	s, end = b.open(&fakePush{repository: noonApplication})
	if b.call(s, preReceive, lines(mainLine)).exit+b.call(s, procReceive, packets("", mainLine)).exit != 0 {
		t.Fatal("the push is refused")
	}
	conn = b.dial(s, postReceive, lines(mainLine))
	b.server.Emit(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Creating, Stamp: dm.Stamp{RequestID: "req-1"}})
	if kind, text, err := readFrame(conn); err != nil || kind != frameSaying || string(text) != "noon-run: CREATING\n" {
		t.Errorf("got %q %q, error %v; want the first transition", kind, text, err)
	}
	conn.Close()
	closed = make(chan struct{})
	go func() { end(); close(closed) }()
	await(t, "the end of the relay", closed)
}

// TestSilentClients checks that who says nothing, or nonsense, gets nowhere.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	began := time.Now() // a stop that waits for the silent ones takes helloTimeout from here at least
	for name, first := range map[string]string{
		"nothing": "", "half a frame": "h\x00\x00\x01\x00{", "a huge frame": "h\xff\xff\xff\xff",
		"no hello": "i\x00\x00\x00\x01x", "no JSON": "h\x00\x00\x00\x01x", "another version": "h\x00\x00\x00\x0d{\"version\":2}",
	} {
		conn, err := net.Dial("unix", b.server.place.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, first); err != nil {
			t.Fatal(err)
		}
		if name == "nothing" || name == "half a frame" {
			continue // these wait until the server stops
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "can't understand this hook program") {
			t.Errorf("%s: got %q, error %v", name, answer, err)
		}
	}
	b.stop()
	if took := time.Since(began); took >= helloTimeout {
		t.Errorf("the server stopped after %s", took)
	}
}

// TestServerStops stops the server while pushes are under way.
func TestServerStops(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, func(c *PushConfig) { c.Grace = time.Minute })
	judging, accepting, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	first, _ := b.open(&fakePush{repository: flowPackage, judge: func(ctx context.Context, _ dm.PushedRef) (dm.PushOutcome, error) {
		close(judging)
		<-ctx.Done()
		return dm.PushOutcome{}, ctx.Err()
	}})
	p := &fakePush{repository: flowPackage}
	p.accept = func(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		close(accepting)
		<-release
		return p.moved(ref), ctx.Err()
	}
	second, _ := b.open(p)
	if got := b.call(second, preReceive, lines(tagLine)); got.exit != 0 {
		t.Fatalf("pre-receive: %q", got.err)
	}
	one, two, stopped := make(chan said, 1), make(chan said, 1), make(chan struct{})
	go func() { one <- b.call(first, preReceive, lines(tagLine)) }()
	go func() { two <- b.call(second, procReceive, packets("", tagLine)) }()
	await(t, "the judgement", judging)
	await(t, "the change", accepting)
	go func() { b.stop(); close(stopped) }()
	if got := await(t, "the end of the judgement", one); got.exit != 2 || got.err != "refs/tags/v1.2.3: the push was given up\nhint: push again later\n" {
		t.Errorf("the judgement: exit %d, %q", got.exit, got.err)
	}
	// The judgement and the door end by the same event, in any order.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		_, done, err := b.server.Open(context.Background(), p)
		if dm.KindOf(err) == dm.Unavailable {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("Open of a server that stops: %v, want Unavailable", err)
		}
		done()
	}
	select {
	case <-stopped:
		t.Error("the server stopped while a change was being accepted")
	default:
	}
	close(release)
	if got := await(t, "the end of the change", two); got.exit != 0 || !strings.Contains(got.out, "ok refs/tags/v1.2.3") {
		t.Errorf("the change: exit %d, %q, %q", got.exit, got.out, got.err)
	}
	await(t, "the stop", stopped)
	if got := b.call(second, postReceive, ""); got.exit != 1 || !strings.Contains(got.err, "can't be reached") {
		t.Errorf("after the stop: exit %d, %q", got.exit, got.err)
	}
}

// TestGraceEnds checks that a change which never ends does not hold the stop.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, func(c *PushConfig) { c.Grace = time.Millisecond })
	accepting := make(chan struct{})
	s, _ := b.open(&fakePush{repository: flowPackage, accept: func(ctx context.Context, _ dm.PushedRef) (dm.PushOutcome, error) {
		close(accepting)
		<-ctx.Done()
		return dm.PushOutcome{}, dm.Errorf(dm.Unavailable, "test", "the server stops")
	}})
	if got := b.call(s, preReceive, lines(tagLine)); got.exit != 0 {
		t.Fatalf("pre-receive: %q", got.err)
	}
	answer := make(chan said, 1)
	go func() { answer <- b.call(s, procReceive, packets("", tagLine)) }()
	await(t, "the change", accepting)
	b.stop()
	if got := await(t, "the answer", answer); !strings.Contains(got.out, "ng refs/tags/v1.2.3 the server stops") {
		t.Errorf("got %q, %q", got.out, got.err)
	}
}

// TestTimeoutEndsAHook checks that nobody holds the server for ever.
func TestTimeoutEndsAHook(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, func(c *PushConfig) { c.Timeout = 50 * time.Millisecond })
	// On a busy machine the time may be over before git's list has come, which is
	// told in other words; then the judgement begins too late, or not at all.
	var got said
	var inTime atomic.Bool
	for deadline := time.Now().Add(soon); !inTime.Load() && time.Now().Before(deadline); {
		s, _ := b.open(&fakePush{repository: flowPackage, judge: func(ctx context.Context, _ dm.PushedRef) (dm.PushOutcome, error) {
			inTime.Store(ctx.Err() == nil)
			<-ctx.Done()
			return dm.PushOutcome{}, ctx.Err()
		}})
		got = b.call(s, preReceive, lines(tagLine))
	}
	if got.exit != 2 || !strings.HasPrefix(got.err, "refs/tags/v1.2.3: the push could not be judged within 50ms\n") {
		t.Errorf("exit %d, %q", got.exit, got.err)
	}
	s, _ := b.open(&fakePush{repository: flowPackage})
	r, w := io.Pipe() // a git that never ends its list
	defer w.Close()
	var shown strings.Builder
	if exit := Program(preReceive, r, io.Discard, &shown, lookup(s.Environment)); exit == 0 || shown.Len() == 0 {
		t.Errorf("exit %d, %q; want a failure", exit, shown.String())
	}
}

// TestRelayEnds checks the relay whose change does not settle in time.
func TestRelayEnds(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, func(c *PushConfig) {
		c.Relay = time.Millisecond
		c.Address = func(app dm.ApplicationName) string { return "https://dm.example/" + string(app) }
	})
	s, end := b.open(&fakePush{repository: noonApplication})
	if b.call(s, preReceive, lines(mainLine)).exit+b.call(s, procReceive, packets("", mainLine)).exit != 0 {
		t.Fatal("the push is refused")
	}
	for range transitions * 3 { // more than anybody reads; Emit must not block
		b.server.Emit(dm.Event{Kind: dm.ApplicationEvent, ID: "other", State: dm.Created, Stamp: dm.Stamp{RequestID: "req-1"}})
	}
	want := "noon-run: the server goes on with it\nwatch it at https://dm.example/noon-run\n"
	if got := b.call(s, postReceive, lines(mainLine)); got.exit != 0 || got.err != want {
		t.Errorf("exit %d, %q; want %q", got.exit, got.err, want)
	}
	end()
	var count countingSink
	sink := Tee(nil, b.server, &count)
	for range transitions * 3 {
		sink.Emit(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Created})
	}
	if count != transitions*3 {
		t.Errorf("the second sink got %d events, want %d", count, transitions*3)
	}
}

type countingSink int

func (c *countingSink) Emit(dm.Event) { *c++ }

// TestUnchanged checks the words for a push that was there before.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	same := func(context.Context, dm.PushedRef) (dm.PushOutcome, error) { return dm.PushOutcome{}, nil }
	for _, tt := range []struct {
		repository dm.Repository
		name, want string
	}{
		{flowPackage, tagLine, "flow-1.2.3 was published before with the same files\n"},
		{noonApplication, mainLine, "noon-run is as it was\n"},
	} {
		s, _ := b.open(&fakePush{repository: tt.repository, accept: same})
		if b.call(s, preReceive, lines(tt.name)).exit+b.call(s, procReceive, packets("", tt.name)).exit != 0 {
			t.Fatal("the push is refused")
		}
		if got := b.call(s, postReceive, lines(tt.name)); got.err != tt.want {
			t.Errorf("it says %q, want %q", got.err, tt.want)
		}
	}
}
