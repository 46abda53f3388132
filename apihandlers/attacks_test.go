package apihandlers_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// serve runs h as the server does, with its limits, on loopback.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config = apihandlers.NewServer(h, slog.New(slog.DiscardHandler))
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// raw sends text as it is and returns the status code and the body of the
// answer; code 0 means that the connection was cut without one.
func raw(t *testing.T, s *httptest.Server, text string) (code int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	data, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data)
}

// TestH3PathForms: no spelling of a path is redirected, and none reaches the
// record but well-formed names.
func TestH3PathForms(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	s := serve(t, h.packages)
	forms := []string{
		"..%2fevil-1.0.0.tar.gz", "..%2F..%2Fetc%2Fpasswd", "%2e%2e%2fevil-1.0.0.tar.gz", "..%5cevil-1.0.0.tar.gz", "%2e%2e", "..", ".", "",
		"a-1.0.0.tar.gz%00", "%00a-1.0.0.tar.gz", "a-1.0.0.tar.gz%0d%0aX-Evil:%201", "a%0a-1.0.0.tar.gz", "%252e%252e%252fevil-1.0.0.tar.gz",
		"../a-1.0.0.tar.gz", "./a-1.0.0.tar.gz", "/a-1.0.0.tar.gz", "a-1.0.0.tar.gz/", "a/../a-1.0.0.tar.gz", "%c0%ae%c0%ae%2fa-1.0.0.tar.gz",
		"a%20b-1.0.0.tar.gz", "%3Cscript%3E-1.0.0.tar.gz", "a-1.0.0.tar.gz;x=y", "x.git-1.0.0.tar.gz", "a-1.2.3.4.tar.gz",
		strings.Repeat("a", 300) + "-1.0.0.tar.gz",
	}
	for _, form := range forms {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			code, body := raw(t, s, fmt.Sprintf("%s /packages/%s?user.name=ana HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, form))
			if code != 400 && code != 404 {
				t.Errorf("%s %q: got %d, want 400 or 404", method, form, code)
			}
			if strings.ContainsAny(body, "\x00\r\n") {
				t.Errorf("%s %q: a control character is not escaped: %q", method, form, body)
			}
		}
	}
	if n := h.record.changes(); n != 0 {
		t.Errorf("the record was asked for %d changes, want 0", n)
	}
	for _, path := range []string{"//packages", "/packages//", "/./packages", "/x/../packages", "/packages/."} {
		code, _ := raw(t, s, fmt.Sprintf("GET %s?user.name=ana HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path))
		if code != 404 {
			t.Errorf("GET %s: got %d, want 404", path, code)
		}
	}
}

// TestH3ManagerPathForms: names of the deployment manager's paths stay text.
func TestH3ManagerPathForms(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	for _, form := range []string{"..%2f..%2fx", "%2e%2e", "a%00b", "a%0d%0ab", "%5c", "-rf", "a%2fstatus", "a%20b", "%F0%9F%92%A9"} {
		for method, want := range map[string]int{"GET": 200, "DELETE": 404} {
			if w := h.do(t, "manager", request{method: method, path: "/applications/" + form + "?user.name=ana"}); w.Code != want {
				t.Errorf("%s %s: got %d, want %d: %s", method, form, w.Code, want, w.Body)
			}
		}
		w := h.do(t, "manager", request{method: "PUT", path: "/applications/" + form + "?user.name=ana", body: `{"package":"flow-collector-2.14.3"}`})
		if w.Code != http.StatusBadRequest {
			t.Errorf("PUT %s: got %d, want 400", form, w.Code)
		}
	}
}

// TestH4UserName: the parameter is read once, from the URL, or not at all.
func TestH4UserName(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	cases := map[string]int{
		"user.name=ana":                                200,
		"user%2ename=ana":                              200,
		"user.name=ana&user.name=root":                 400,
		"user%2ename=ana&user.name=root":               400,
		"user.name=&user.name=root":                    400,
		"user.name=ana;user.name=root":                 400,
		"user.name=ana;x=1":                            400,
		"user.name=ana%00":                             400,
		"user.name=ana%0aroot":                         400,
		"user.name=..%2froot":                          400,
		"user.name=-x":                                 400,
		"user.name=%ff":                                400,
		"user.name=a%CC%81":                            400, // not in normal form C
		"user.name=" + strings.Repeat("a", 129):        400,
		"user.name=%zz":                                400,
		"User.Name=root":                               400, // absent
		"user.name=ana&x=" + strings.Repeat("y", 1000): 200,
	}
	for query, want := range cases {
		if w := h.do(t, "packages", request{method: "GET", path: "/packages?" + query}); w.Code != want {
			t.Errorf("%.60s: got %d, want %d: %s", query, w.Code, want, w.Body)
		}
	}
	// A form in the body says nothing about the user.
	w := h.do(t, "packages", request{method: "PUT", path: "/packages/a-1.0.0.tgz", body: "user.name=root",
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
	if w.Code != http.StatusBadRequest {
		t.Errorf("user.name in a form: got %d, want 400", w.Code)
	}
}

// TestH8LogInjection: a name cannot forge a line of the log.
func TestH8LogInjection(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	h.do(t, "manager", request{method: "GET", path: "/packages/x%0a%7B%22msg%22:%22forged%22%7D?user.name=%0aforged",
		header: http.Header{"X-Request-Id": {"x\n{\"msg\":\"forged\"}"}}})
	log := h.log.String()
	if strings.Contains(log, "forged") || strings.Count(log, "\n") != 1 {
		t.Errorf("the log holds what the client wrote: %s", log)
	}
}

// TestH10ContentEncoding: nothing but gzip expands, and that only to the limit; see
// TestContentEncodingOfUploads.
func TestH10ContentEncoding(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	for _, encoding := range []string{"deflate", "br", "gzip, identity", "zstd"} {
		q := request{method: "PUT", path: "/packages/a-1.0.0.tgz?user.name=ana", body: "x", header: http.Header{"Content-Encoding": {encoding}}}
		if w := h.do(t, "packages", q); w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("upload, %s: got %d, want 415", encoding, w.Code)
		}
		q.path = "/applications/a?user.name=ana"
		if w := h.do(t, "manager", q); w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("create, %s: got %d, want 415", encoding, w.Code)
		}
	}
	q := request{method: "PUT", path: "/packages/a-1.0.0.tgz?user.name=ana", body: "x", header: http.Header{"Content-Encoding": {"identity"}}}
	if w := h.do(t, "packages", q); w.Code != http.StatusOK {
		t.Errorf("identity: got %d, want 200", w.Code)
	}
}

// TestH11HostileJSON on both routes that take JSON.
func TestH11HostileJSON(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	cases := map[string]struct {
		body string
		want int
	}{
		"huge":             {`{"package":"a-1.0.0","x":{"y":{"z":"` + strings.Repeat("z", 1<<20) + `"}}}`, 413},
		"deep":             {`{"package":"a-1.0.0","x":` + deep + `}`, 400},
		"duplicate":        {`{"package":"a-1.0.0","package":"b-1.0.0"}`, 400},
		"nested duplicate": {`{"package":"a-1.0.0","jupyter":{"c":{"k":1,"k":2}}}`, 400},
		"two values":       {`{"package":"a-1.0.0"}{}`, 400},
		"empty":            {``, 400},
		"null":             {`null`, 400},
		"cut off":          {`{"package":`, 400},
	}
	for name, c := range cases {
		for _, path := range []string{"/applications/new", "/api/v1/applications/noon-run"} {
			if w := h.do(t, "manager", request{method: "PUT", path: path + "?user.name=ana", body: c.body}); w.Code != c.want {
				t.Errorf("%s to %s: got %d, want %d: %.200s", name, path, w.Code, c.want, w.Body)
			}
		}
	}
	if n := h.record.changes(); n != 0 {
		t.Errorf("the record was asked for %d changes, want 0", n)
	}
}

// TestH14SecretsStayOut: planted secrets are in no log line, metric or answer.
func TestH14SecretsStayOut(t *testing.T) {
	t.Parallel()
	const secret = "PLANTED0SECRET"
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		h := newHarness(t, options{mode: mode, env: map[string]any{"db_password": secret}, fail: fmt.Errorf("cause with /a/path")})
		var answers strings.Builder
		for _, header := range []http.Header{
			{"Authorization": {"Bearer " + secret}}, {"Authorization": {secret}}, {"Cookie": {"session=" + secret}},
			{"Authorization": {"Basic " + secret}}, {"Authorization": {"Basic YW5hOlBMQU5URUQwU0VDUkVU"}}, {"X-Request-Id": {secret + " "}},
		} {
			for server, q := range map[string]request{
				"packages": {method: "PUT", path: "/packages/a-1.0.0.tgz?user.name=ana&token=" + secret, body: secret},
				"manager":  {method: "PUT", path: "/applications/a?user.name=ana&token=" + secret, body: `{"package":"` + secret + `","jupyter":{"c":{"password":"` + secret + `"}}}`},
			} {
				q.header = header.Clone()
				w := h.do(t, server, q)
				if server == "packages" { // the manager repeats the package's id to the one who sent it
					answers.WriteString(w.Body.String())
				}
			}
			w := h.do(t, "manager", request{method: "GET", path: "/environment/endpoints?token=" + secret, header: header.Clone()})
			answers.WriteString(w.Body.String())
		}
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("%s: the log holds the secret: %s", mode, h.log)
		}
		if got := answers.String(); strings.Contains(got, secret) || strings.Contains(got, "/a/path") {
			t.Errorf("%s: an answer holds what it must not: %s", mode, got)
		}
		families, err := h.registry.Gather()
		must(t, err)
		if strings.Contains(fmt.Sprint(families), secret) {
			t.Errorf("%s: the metrics hold the secret", mode)
		}
	}
}

// TestH1StalledBody: a body that stands still is cut, one that is slow is not.
func TestH1StalledBody(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{stall: 150 * time.Millisecond})
	s := serve(t, h.packages)
	const head = "PUT /packages/a-1.0.0.tgz?user.name=ana HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
	t.Run("stalled", func(t *testing.T) {
		code, body := raw(t, s, fmt.Sprintf(head, 1000)+"x")
		if code != http.StatusRequestTimeout {
			t.Errorf("got %d %s, want 408", code, body)
		}
	})
	t.Run("drip", func(t *testing.T) {
		// Not by an http.Client: one that is still writing when the server
		// closes may report that and not the answer.
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, head, 1000)
		must(t, err)
		stop := make(chan struct{})
		defer close(stop)
		go drip(conn, 1, 20*time.Millisecond, 1000, stop)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %d, want 408", answer.StatusCode)
		}
	})
	t.Run("slow", func(t *testing.T) {
		h := newHarness(t, options{stall: 5 * time.Second}) // longer than a busy machine stands still
		s := serve(t, h.packages)
		pr, pw := io.Pipe()
		stop := make(chan struct{})
		defer close(stop)
		go drip(pw, 8<<10, 600*time.Millisecond, 10, stop) // in all longer than the stall time
		if code := put(t, s, pr); code != http.StatusOK {
			t.Errorf("got %d, want 200", code)
		}
		if got := len(h.record.uploaded); got != 80<<10 {
			t.Errorf("got %d bytes, want %d", got, 80<<10)
		}
	})
}

// drip writes n pieces of size bytes, one per tick.
func drip(w io.WriteCloser, size int, tick time.Duration, n int, stop <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for range n {
		select {
		case <-stop:
			_ = w.Close()
			return
		case <-ticker.C:
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), size)); err != nil {
			return
		}
	}
	_ = w.Close()
}

func put(t *testing.T, s *httptest.Server, body io.Reader) int {
	t.Helper()
	q, err := http.NewRequest(http.MethodPut, s.URL+"/packages/a-1.0.0.tgz?user.name=ana", body)
	must(t, err)
	answer, err := s.Client().Do(q)
	must(t, err)
	answer.Body.Close()
	return answer.StatusCode
}

// TestBrokenBody: what the client did to its body is never a fault of ours.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{maxBody: 100})
	s := serve(t, h.packages)
	const line = "PUT /packages/a-1.0.0.tgz?user.name=ana HTTP/1.1\r\nHost: h\r\n"
	cases := []struct {
		name, text string
		want       int
	}{
		{"bad chunk", line + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"chunked over the limit", line + "Transfer-Encoding: chunked\r\n\r\nc8\r\n" + strings.Repeat("x", 200) + "\r\n0\r\n\r\n", 413},
		{"announced over the limit", line + "Content-Length: 200\r\n\r\n", 413},
		{"chunked within the limit", line + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
		{"length and chunked", line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
		{"header too large", line + "X: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", 431},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if code, body := raw(t, s, c.text); code != c.want {
				t.Errorf("got %d %s, want %d", code, body, c.want)
			}
		})
	}
	t.Run("client gone", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		_, err = io.WriteString(conn, line+"X-Request-Id: gone\r\nContent-Length: 50\r\n\r\nabc")
		must(t, err)
		must(t, conn.Close())
		entry := waitForLine(t, h.log, `"request_id":"gone"`)
		if !strings.Contains(entry, `"status":400`) {
			t.Errorf("got %s, want status 400", entry)
		}
	})
}

// waitForLine waits for the access line that holds text.
func waitForLine(t *testing.T, log *lockedBuffer, text string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, text) {
				return line
			}
		}
	}
	t.Fatalf("no line with %s in %s", text, log)
	return ""
}

// TestExpectContinue: a client that waits for leave never sends a body that is
// refused anyway.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{maxBody: 100})
	s := serve(t, h.packages)
	const text = "PUT /packages/%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
	for path, want := range map[string]int{"bad?user.name=ana": 400, "a-1.0.0.tgz?user.name=zoe": 403, "a-1.0.0.tgz": 400} {
		if code, _ := raw(t, s, fmt.Sprintf(text, path, 3)); code != want {
			t.Errorf("%s: got %d first, want %d", path, code, want)
		}
	}
	if code, _ := raw(t, s, fmt.Sprintf(text, "a-1.0.0.tgz?user.name=ana", 1000)); code != 413 {
		t.Errorf("too large: got %d first, want 413", code)
	}
	if code, _ := raw(t, s, fmt.Sprintf(text, "a-1.0.0.tgz?user.name=ana", 3)); code != 100 {
		t.Errorf("good: got %d first, want 100", code)
	}
}

// TestUploadKeepsConnection: after a long upload the connection serves the next
// request; its deadline is gone.
func TestUploadKeepsConnection(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{stall: 5 * time.Second}) // as above
	s := serve(t, h.packages)
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	for range 2 {
		if code := put(t, s, bytes.NewReader(data)); code != http.StatusOK {
			t.Fatalf("got %d, want 200", code)
		}
	}
	if !bytes.Equal(h.record.uploaded, data) {
		t.Error("the record got other bytes")
	}
}

// TestBodyDeadlineEndsWithBody: a handler that works on after the body has
// arrived is not cancelled by the body's deadline.
func TestBodyDeadlineEndsWithBody(t *testing.T) {
	t.Parallel()
	const stall = time.Second // a busy machine may stand still between the deadline and the read
	got := make(chan error, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := apihandlers.OpenBody(w, r, apihandlers.BodyLimits{Size: 100, Stall: stall})
		for range 2 { // those who read archives ask once more at the end
			if err == nil {
				_, err = io.ReadAll(body)
			}
		}
		if err == nil {
			select {
			case <-r.Context().Done():
				err = errors.New("cancelled")
			case <-time.After(stall + stall/2):
			}
		}
		got <- err
	}))
	for name, text := range map[string]string{
		"empty":   "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
		"length":  "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
		"chunked": "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		if code, _ := raw(t, s, text); code != http.StatusOK {
			t.Errorf("%s: got %d, want 200", name, code)
		}
		if err := <-got; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDamagedDownload: half an archive does not look whole, and the log tells
// why.
func TestDamagedDownload(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	s := serve(t, h.packages)
	answer, err := s.Client().Get(s.URL + "/packages/damaged-1.0.0.tgz?user.name=ana")
	must(t, err)
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Errorf("got %d bytes that look whole", n)
	}
	waitForLine(t, h.log, "planted read error")
}

// TestDownloadHeaders over a real connection: length, tag and no copy of the
// body for HEAD and 304.
func TestDownloadHeaders(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	s := serve(t, h.packages)
	const path = "/packages/flow-collector-2.14.3.tar.gz?user.name=ana"
	ask := func(method, tag string) (int, int64, string, string) {
		q, err := http.NewRequest(method, s.URL+path, nil)
		must(t, err)
		if tag != "" {
			q.Header.Set("If-None-Match", tag)
		}
		answer, err := s.Client().Do(q)
		must(t, err)
		defer answer.Body.Close()
		data, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, answer.ContentLength, answer.Header.Get("ETag"), string(data)
	}
	code, length, tag, body := ask("GET", "")
	if code != 200 || length != int64(len(archiveBytes)) || body != archiveBytes || strings.HasPrefix(tag, "W/") {
		t.Errorf("GET: got %d, %d bytes, tag %s: %q", code, length, tag, body)
	}
	if code, length, headTag, body := ask("HEAD", ""); code != 200 || length != int64(len(archiveBytes)) || headTag != tag || body != "" {
		t.Errorf("HEAD: got %d, %d bytes, tag %s: %q", code, length, headTag, body)
	}
	if code, _, _, body := ask("GET", tag); code != 304 || body != "" {
		t.Errorf("If-None-Match: got %d %q, want 304", code, body)
	}
	if code, _, _, _ := ask("GET", `"other"`); code != 200 {
		t.Errorf("If-None-Match with another tag: got %d, want 200", code)
	}
}
