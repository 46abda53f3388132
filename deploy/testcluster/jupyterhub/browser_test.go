package jupyterhub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	waitForServer = 4 * time.Minute // a server to start or end, on a busy machine
	waitForChange = 2 * time.Minute
)

// browser is one person at a browser: cookies, the forms' hidden field, no
// token.
type browser struct {
	site   *site
	user   string
	home   string // address of the user's server, as the Hub's pages write it
	client *http.Client
}

// jar compares paths as they are sent, as browsers do and net/http does not;
// the paths of odd user names differ.
type jar struct{ http.CookieJar }

func (j jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(asSent(u), cookies)
}

func (j jar) Cookies(u *url.URL) []*http.Cookie { return j.CookieJar.Cookies(asSent(u)) }

func asSent(u *url.URL) *url.URL {
	sent := *u
	sent.Path, sent.RawPath = u.EscapedPath(), ""
	return &sent
}

// signIn fills in the Hub's login form. The Hub then starts the server.
func signIn(t *testing.T, s *site, user string) *browser {
	t.Helper()
	cookies, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{site: s, user: user, client: &http.Client{Jar: jar{cookies}, Timeout: waitForServer}}
	form := b.get(t, s.public+"/hub/login", http.StatusOK)
	hidden := regexp.MustCompile(`name="_xsrf"\s+value="([^"]*)"`).FindSubmatch(form)
	if hidden == nil {
		t.Fatalf("the login form has no field _xsrf:\n%s", form)
	}
	fields := url.Values{"_xsrf": {string(hidden[1])}, "username": {user}, "password": {hubPassword}}
	answer, err := b.client.PostForm(s.public+"/hub/login", fields)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || strings.HasSuffix(answer.Request.URL.Path, "/login") {
		t.Fatalf("sign in as %s: %s at %s\n%s", user, answer.Status, answer.Request.URL, text)
	}
	b.awaitServer(t)
	return b
}

// awaitServer opens the server's first page, through the Hub's OAuth.
func (b *browser) awaitServer(t *testing.T) {
	t.Helper()
	eventually(t, waitForServer, func() error {
		server := b.state(t).Servers[""]
		if !server.Ready {
			return fmt.Errorf("the server of %s is not ready", b.user)
		}
		b.home = b.site.public + strings.TrimSuffix(server.URL, "/")
		return nil
	})
	b.get(t, b.home+"/lab", http.StatusOK)
}

// userState is what the Hub says of a user.
type userState struct {
	Servers map[string]struct {
		Ready bool
		URL   string
	}
}

func (b *browser) state(t *testing.T) (state userState) {
	t.Helper()
	if err := json.Unmarshal(b.site.ask(t, "GET", "/users/"+url.PathEscape(b.user), "", http.StatusOK), &state); err != nil {
		t.Fatal(err)
	}
	return state
}

// stopServer does what the Hub's culler does after an idle hour. The Hub answers
// 202 when the server takes more than ten seconds to end.
func (b *browser) stopServer(t *testing.T) {
	t.Helper()
	path := "/users/" + url.PathEscape(b.user) + "/server"
	status, answer := call(t, "DELETE", b.site.api+path, "token "+serviceToken, "")
	if status != http.StatusNoContent && status != http.StatusAccepted {
		t.Fatalf("DELETE %s: want 204 or 202, got %d: %s", path, status, answer)
	}
	eventually(t, waitForServer, func() error {
		if _, there := b.state(t).Servers[""]; there {
			return fmt.Errorf("the server of %s is still stopping", b.user)
		}
		return nil
	})
}

// startServer is the button of the Hub's page.
func (b *browser) startServer(t *testing.T) {
	t.Helper()
	b.get(t, b.site.public+"/hub/spawn/"+url.PathEscape(b.user), http.StatusOK)
	b.awaitServer(t)
}

func (b *browser) restartServer(t *testing.T) {
	t.Helper()
	b.stopServer(t)
	b.startServer(t)
}

func (b *browser) get(t *testing.T, address string, want int) []byte {
	t.Helper()
	status, text := b.do(t, http.MethodGet, address, nil)
	if status != want {
		t.Fatalf("GET %s as %s: want %d, got %d\n%s", address, b.user, want, status, text)
	}
	return text
}

// do sends what the page's own script would send, the XSRF header with it.
func (b *browser) do(t *testing.T, method, address string, body []byte) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.client.Jar.Cookies(request.URL) {
		if cookie.Name == "_xsrf" {
			request.Header.Set("X-XSRFToken", cookie.Value)
		}
	}
	answer, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

// contents is the address of a file or folder in the server's contents API.
func (b *browser) contents(name string) string {
	return b.home + "/api/contents/" + (&url.URL{Path: name}).EscapedPath()
}

// list returns the names in a folder of the user's home, as the file browser
// shows them.
func (b *browser) list(t *testing.T, folder string) []string {
	t.Helper()
	var listing struct {
		Content []struct{ Name string }
	}
	if err := json.Unmarshal(b.get(t, b.contents(folder), http.StatusOK), &listing); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range listing.Content {
		names = append(names, entry.Name)
	}
	return names
}

// read returns a file's text; a notebook's is its JSON.
func (b *browser) read(t *testing.T, name string) string {
	t.Helper()
	var file struct{ Content json.RawMessage }
	if err := json.Unmarshal(b.get(t, b.contents(name), http.StatusOK), &file); err != nil {
		t.Fatal(err)
	}
	var text string
	if json.Unmarshal(file.Content, &text) == nil {
		return text
	}
	return string(file.Content)
}

// addCell changes a notebook as the editor saves it.
func (b *browser) addCell(t *testing.T, name, source string) {
	t.Helper()
	var notebook map[string]any
	if err := json.Unmarshal([]byte(b.read(t, name)), &notebook); err != nil {
		t.Fatal(err)
	}
	cells, _ := notebook["cells"].([]any)
	notebook["cells"] = append(cells, map[string]any{
		"cell_type": "code", "id": "added-by-a-test", "source": source, "metadata": map[string]any{}, "outputs": []any{}, "execution_count": nil,
	})
	body, err := json.Marshal(map[string]any{"type": "notebook", "format": "json", "name": path.Base(name), "content": notebook})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := b.do(t, http.MethodPut, b.contents(name), body); status != http.StatusOK {
		t.Fatalf("save %s: %d %s", name, status, answer)
	}
}
