package hooks

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
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

// TestOneAnswer calls the hook of a push again, after it had its answer and while
// it waits for it.
func TestOneAnswer(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	p := &fakePush{repository: flowPackage}
	s, _ := b.open(p)
	p.judge = func(_ context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		if got := b.call(s, packets("", "refs/tags/9.9.9")); got.exit != 1 || got.err != "this push has had its answer\n" || got.out != "" {
			t.Errorf("beside the first: exit %d, %q, %q", got.exit, got.out, got.err)
		}
		return p.moved(ref), nil
	}
	if got := b.call(s, packets("", tagLine)); got.exit != 0 || !strings.Contains(got.out, "ok "+tagLine) {
		t.Errorf("the first: exit %d, %q, %q", got.exit, got.out, got.err)
	}
	if got := b.call(s, packets("", tagLine)); got.exit != 1 || got.err != "this push has had its answer\n" || got.out != "" {
		t.Errorf("after the first: exit %d, %q, %q", got.exit, got.out, got.err)
	}
	if judged, accepted := p.calls(); !slices.Equal(judged, []string{tagLine}) || !slices.Equal(accepted, judged) {
		t.Errorf("judged %q and accepted %q, want one each", judged, accepted)
	}
}

// TestStrangersAreSentAway calls hook programs that belong to no push.
func TestStrangersAreSentAway(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	p := &fakePush{repository: flowPackage}
	s, end := b.open(p)
	socket := hook.SocketVariable + "=" + b.server.place.socket
	tests := []struct {
		name        string
		environment []string
		want        string
	}{
		{"nothing", nil, "proc-receive: this repository accepts pushes only through its server\n"},
		{"no session", []string{socket}, "proc-receive: this repository accepts pushes only through its server\n"},
		{"a wrong session", []string{socket, hook.SessionVariable + "=" + strings.Repeat("0", 32)}, "unknown push\n"},
		{"a part of a session", []string{socket, s.Environment[1][:len(s.Environment[1])-1]}, "proc-receive: this repository accepts pushes only through its server\n"},
		{"a session in capitals", []string{socket, hook.SessionVariable + "=" + strings.ToUpper(strings.TrimPrefix(s.Environment[1], hook.SessionVariable+"="))}, "unknown push\n"},
		{"no server", []string{hook.SocketVariable + "=" + b.server.place.socket + ".gone", s.Environment[1]}, "proc-receive: the server is unreachable, push again later\n"},
	}
	for _, tt := range tests {
		got := b.call(dm.PushSession{Environment: tt.environment}, packets("", tagLine))
		if got.exit != 1 || !strings.HasSuffix(got.err, tt.want) {
			t.Errorf("%s: exit %d, %q; want 1, %q", tt.name, got.exit, got.err, tt.want)
		}
	}
	end()
	if got := b.call(s, packets("", tagLine)); got.exit != 1 || got.err != "unknown push\n" {
		t.Errorf("a session that has ended: exit %d, %q", got.exit, got.err)
	}
	if judged, _ := p.calls(); len(judged) > 0 {
		t.Errorf("judged %q, want nothing", judged)
	}
	b.wantPushes("packages", pushUnjudged, 1)
}

// TestOnlyWhatIsUnderstoodIsJudged has git say what makes no sense.
func TestOnlyWhatIsUnderstoodIsJudged(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	tests := []struct {
		name, asked string
		reported    string // "" when protocol error between git and the server
	}{
		{"none", packets(""), ""},
		// Two refs to whom reads lines, one to git.
		{"a line break in a name", packets("", tagLine+"\n"+zeroID+" "+oneID+" refs/tags/2.0.0"), "ng " + tagLine + "\n" + zeroID},
		{"a line end of a name", packets("", tagLine+"\n"), "ng " + tagLine + "\n"},
		{"too many", packets("", strings.Split(strings.Repeat(tagLine+" ", 11)+tagLine, " ")...), "ng " + tagLine + " the push has 12 refs"},
		{"no room for a reason", packets("", "refs/tags/"+strings.Repeat("x", 65400)), "0000"},
		{"another protocol", "000dversion=20000", ""},
		{"no protocol", zeroID + " " + oneID + " " + tagLine + "\n", ""},
		{"a length that is none", "zzzz", ""},
		{"a short packet", "0002", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &fakePush{repository: flowPackage}
			s, _ := b.open(p)
			got := b.call(s, tt.asked)
			if got.err == "" || strings.Contains(got.out, "ok ") || (got.exit != 0) != (tt.reported == "") || !strings.Contains(got.out, tt.reported) {
				t.Errorf("exit %d, %q, %q; want a refusal and %q", got.exit, got.out, got.err, tt.reported)
			}
			if judged, accepted := p.calls(); len(judged)+len(accepted) > 0 {
				t.Errorf("judged %q, accepted %q", judged, accepted)
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
	got := b.call(s, withOptions([]string{"now"}, "refs/tags/1.0.0", "refs/heads/x", "refs/tags/2.0.0"))
	want := `unknown push option now
refs/heads/x is not accepted: a package has only tags of versions
refs/tags/1.0.0: it is no good
  a: one
  b: two
refs/tags/2.0.0: the disk is full
hint: the push options are dry-run, accept-faults and reason=<text>
hint: push a tag named for the version, such as 1.2.3 or v1.2.3
hint: mend it
`
	if got.err != want || got.exit != 0 {
		t.Errorf("exit %d, it says\n%s\nwant 0 and\n%s", got.exit, got.err, want)
	}
	wantIn(t, got.out, "ng refs/tags/1.0.0 it is no good", "ng refs/heads/x refs/heads/x is not accepted", "ng refs/tags/2.0.0 the disk is full")
	if _, accepted := p.calls(); len(accepted) > 0 {
		t.Errorf("accepted %q", accepted)
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
	got := b.call(s, packets("", mainLine))
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
	if got := b.call(s, packets("", tagLine)); got.exit != 2 || got.err != "internal error\n" {
		t.Errorf("exit %d, %q; want 2, internal error", got.exit, got.err)
	}
	end()
	b.wantPushes("packages", pushFailed, 1)
	s, _ = b.open(&fakePush{repository: flowPackage})
	if got := b.call(s, packets("", tagLine)); got.exit != 0 {
		t.Errorf("the next push: exit %d, %q", got.exit, got.err)
	}
}

// dial connects as a hook program that the test plays itself.
func (b *pushBench) dial(s dm.PushSession, stdin string) *net.UnixConn {
	b.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: b.server.place.socket, Net: "unix"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write(append(hook.Hello(lookup(s.Environment)(hook.SessionVariable)), stdin...)); err != nil {
		b.Fatal(err)
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
	conn := b.dial(s, packets("", tagLine))
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
	conn = b.dial(s, packets("", tagLine))
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
	conn = b.dial(s, packets("", mainLine))
	for reported := false; !reported; {
		kind, text, err := hook.ReadFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		reported = kind == hook.Output && strings.Contains(string(text), "ok "+mainLine)
	}
	b.events.emit(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Creating, Stamp: dm.Stamp{RequestID: "req-1"}})
	if kind, text, err := hook.ReadFrame(conn); err != nil || kind != hook.Saying || string(text) != "noon-run: CREATING\n" {
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
		"nothing": "", "half a hello": string(hook.Hello(strings.Repeat("0", 32)))[:40],
		"no hello": strings.Repeat("x", 100), "another version": "deployment-manager push 1 " + strings.Repeat("0", 32) + "\n",
		"a longer session": string(hook.Hello(strings.Repeat("0", 33))),
	} {
		conn, err := net.Dial("unix", b.server.place.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, first); err != nil {
			t.Fatal(err)
		}
		if name == "nothing" || name == "half a hello" {
			continue // these wait until the server stops
		}
		// What the server did not read of it resets the connection.
		if answer, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) || !strings.Contains(string(answer), "malformed message from this hook program") {
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
	one, two, stopped := make(chan said, 1), make(chan said, 1), make(chan struct{})
	go func() { one <- b.call(first, packets("", tagLine)) }()
	go func() { two <- b.call(second, packets("", tagLine)) }()
	await(t, "the judgement", judging)
	await(t, "the change", accepting)
	go func() { b.stop(); close(stopped) }()
	if got := await(t, "the end of the judgement", one); got.exit != 0 || got.err != "refs/tags/v1.2.3: the push was aborted\nhint: push again later\n" || !strings.Contains(got.out, "ng refs/tags/v1.2.3 the push was aborted") {
		t.Errorf("the judgement: exit %d, %q, %q", got.exit, got.out, got.err)
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
	if got := b.call(second, ""); got.exit != 1 || !strings.Contains(got.err, "the server is unreachable") {
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
	answer := make(chan said, 1)
	go func() { answer <- b.call(s, packets("", tagLine)) }()
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
		got = b.call(s, packets("", tagLine))
	}
	if got.exit != 0 || !strings.HasPrefix(got.err, "refs/tags/v1.2.3: the push could not be checked within 50ms\n") || !strings.Contains(got.out, "ng refs/tags/v1.2.3 the push could not be checked within 50ms") {
		t.Errorf("exit %d, %q", got.exit, got.err)
	}
	s, _ := b.open(&fakePush{repository: flowPackage})
	r, w := io.Pipe() // a git that never ends its list
	defer w.Close()
	var shown strings.Builder
	if exit := hook.Program(r, io.Discard, &shown, lookup(s.Environment)); exit == 0 || shown.Len() == 0 {
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
	p := &fakePush{repository: noonApplication}
	p.accept = func(_ context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
		for range events * 3 {
			b.events.emit(dm.Event{Kind: dm.ApplicationEvent, ID: "other", State: dm.Created, Stamp: dm.Stamp{RequestID: "req-1"}})
		}
		return p.moved(ref), nil
	}
	s, _ := b.open(p)
	want := "noon-run: still in progress\nwatch it at https://dm.example/noon-run\n"
	if got := b.call(s, packets("", mainLine)); got.exit != 0 || got.err != want {
		t.Errorf("exit %d, %q; want %q", got.exit, got.err, want)
	}
}

// TestUnchanged checks the words for a push that was there before.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	b := newPushBench(t, nil)
	same := func(context.Context, dm.PushedRef) (dm.PushOutcome, error) { return dm.PushOutcome{}, nil }
	for _, tt := range []struct {
		repository dm.Repository
		name, want string
	}{
		{flowPackage, tagLine, "flow-1.2.3 already exists with the same files\n"},
		{noonApplication, mainLine, "noon-run is unchanged\n"},
	} {
		s, _ := b.open(&fakePush{repository: tt.repository, accept: same})
		if got := b.call(s, packets("", tt.name)); got.exit != 0 || !strings.Contains(got.out, "ok "+tt.name) || got.err != tt.want {
			t.Errorf("exit %d, %q, it says %q, want %q", got.exit, got.out, got.err, tt.want)
		}
	}
}
