package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
)

// caller is one column of the tables.
type caller struct {
	head     string
	user     string // who has the password, or the name where names are believed
	password string
	token    string
	claim    string // user.name beside a token
	app      string // that is asked about
}

// accessWorld is a server with what is asked about.
type accessWorld struct {
	*house
	mode    dm.AuthMode
	callers []caller
	n       int // numbers what is used up

	spare map[string]string   // by route: what nobody was allowed to use up yet
	known map[string]dm.Phase // of the applications that nothing was done to since
	mains map[string]string   // by repository, until something is done
}

const (
	accessSecret = "secret of "
	delivered    = "PLANTED" // stands in what the applications deliver, and nowhere else
)

func openAccess(t *testing.T, mode dm.AuthMode) *accessWorld {
	t.Helper()
	folder := t.TempDir()
	people := []string{"ana", "una", "gus", "sid", "pub", "root", "aud"}
	options := []string{"--auth", string(mode), "--groups", "{class-7: [gus], publisher: [pub], admin: [root], auditor: [aud]}"}
	options = append(options, clusterAway(t, folder)...)
	w := &accessWorld{mode: mode, spare: map[string]string{}, known: map[string]dm.Phase{}, mains: map[string]string{}}
	login := func(user string) string { return url.UserPassword(user, accessSecret+user).String() + "@" }
	if mode == dm.InsecurePNDA {
		login = func(string) string { return "" }
	} else {
		users, tokens := filepath.Join(folder, "users"), filepath.Join(folder, "tokens")
		must(t, os.WriteFile(users, []byte(passwordsOf(t, people)), 0o600))
		token := func(user dm.UserName, scopes ...dm.Scope) string {
			made, _, err := auth.CreateToken(tokens, auth.Token{User: user, Scopes: scopes}, time.Now())
			must(t, err)
			return made
		}
		console := token("console")
		w.callers = []caller{
			{head: "for owner", token: console, claim: "ana", app: "noon"},
			{head: "for admin", token: console, claim: "root", app: "noon"},
			{head: "read", token: token("ana", dm.ScopeRead), app: "noon"},
			{head: "packages", token: token("ana", dm.ScopePackages), app: "noon"},
			{head: "applications", token: token("ana", dm.ScopeApplications), app: "noon"},
		}
		options = append(options, "--htpasswd", users, "--tokens", tokens, "--impersonators", "console")
	}
	person := func(head, user, app string) caller {
		return caller{head: head, user: user, password: accessSecret + user, app: app}
	}
	w.callers = append([]caller{
		{head: "nobody", app: "noon"},
		{head: "wrong", user: "ana", password: "wrong", app: "noon"},
		person("owner", "ana", "noon"), person("user", "una", "noon"), person("group", "gus", "noon"), person("everyone", "sid", "open"),
		person("stranger", "sid", "noon"), person("publisher", "pub", "noon"), person("admin", "root", "noon"), person("auditor", "aud", "noon"),
	}, w.callers...)
	if mode == dm.InsecurePNDA { // there is nothing that an audience or an auditor may and others may not
		w.callers = slices.DeleteFunc(w.callers, func(c caller) bool {
			return slices.Contains([]string{"user", "group", "everyone", "auditor"}, c.head)
		})
	}
	must(t, beside(folder, "deployment-manager-sync-amd64", []byte("a program for pods\n")))
	w.house = startHouse(t, folder, login, options...)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		w.offer("flow-" + version)
		w.deploy("flow-" + version)
	}
	for _, app := range []string{"noon", "open", "own"} {
		w.ensure(app, dm.Created)
	}
	return w
}

// podsBase is where pods would reach the manager's door.
const podsBase = "http://127.0.0.1"

// clusterAway are the options of a server whose cluster can't be reached.
func clusterAway(t *testing.T, folder string) []string {
	t.Helper()
	kubeconfig := filepath.Join(folder, "kubeconfig")
	must(t, os.WriteFile(kubeconfig, []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "away", "users": [],
		"clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}], "contexts": [{"name": "away", "context": {"cluster": "away"}}]}`), 0o600))
	return []string{
		"--kubernetes-enabled", "--kubernetes-kubeconfig", kubeconfig, "--kubernetes-files-url", podsBase,
		"--kubernetes-teams", "{data: {namespace: pnda-data, serviceAccount: driver, images: [spark]}}", "--spark-images", `{"4.0.4": "spark"}`,
	}
}

// addressOf is the path of a file's address, as the server signs it for pods.
func (w *accessWorld) addressOf(f dm.DeliveredFile, content string) string {
	w.t.Helper()
	key, err := files.LoadKey(filepath.Join(w.data(), files.KeyFile))
	must(w.t, err)
	signer, err := files.NewSigner(podsBase, key)
	must(w.t, err)
	return strings.TrimPrefix(signer.Address(f, sha256.Sum256([]byte(content))), podsBase)
}

func passwordsOf(t *testing.T, people []string) string {
	t.Helper()
	var lines strings.Builder
	for _, user := range people {
		hash, err := bcrypt.GenerateFromPassword([]byte(accessSecret+user), bcrypt.MinCost)
		must(t, err)
		fmt.Fprintf(&lines, "%s:%s\n", user, hash)
	}
	return lines.String()
}

// offer publishes a package of ana's.
func (w *accessWorld) offer(id string) {
	w.t.Helper()
	w.send(http.StatusOK, http.MethodPut, w.url("packages", "ana", "/packages/"+id+".tar.gz?user.name=ana"), string(crashArchive(id, id)))
}

func (w *accessWorld) deploy(id string) {
	w.t.Helper()
	w.send(http.StatusAccepted, http.MethodPut, w.url("manager", "ana", "/packages/"+id+"?user.name=ana"), "")
}

// next numbers something that one request uses up.
func (w *accessWorld) next() int {
	w.n++
	return w.n
}

// state is the phase of an application, its newest deployment and package.
func (w *accessWorld) state(app string) (phase dm.Phase, deployment int, pkg string) {
	w.t.Helper()
	status, answer, err := send(http.MethodGet, w.url("manager", "ana", "/api/v1/applications/"+app+"?user.name=ana"), "")
	if err != nil || status != http.StatusOK && status != http.StatusNotFound {
		w.t.Fatalf("%s: got %d %s, %v", app, status, answer, err)
	}
	var view struct {
		Phase      dm.Phase
		Deployment int
		Package    string
	}
	must(w.t, json.Unmarshal([]byte(answer), &view))
	if status == http.StatusNotFound {
		view.Phase = dm.NotCreated
	}
	return view.Phase, view.Deployment, view.Package
}

// ensure brings an application of ana's into a phase, with its audience,
// whatever was done to it.
func (w *accessWorld) ensure(app string, want dm.Phase) {
	w.t.Helper()
	if w.known[app] == want {
		return
	}
	clear(w.mains)
	path := "/applications/" + app
	as := func(user, method, path, body string) {
		w.t.Helper()
		w.send(http.StatusAccepted, method, w.url("manager", user, path+"?user.name="+user), body)
	}
	must(w.t, poll(func() (bool, string) {
		phase, _, _ := w.state(app)
		switch {
		case phase.Working() || phase == want:
		case phase == dm.NotCreated:
			as("ana", http.MethodPut, path, `{"package":"flow-1.0.0"}`)
			w.settled("ana", path, string(dm.Created))
			as("root", http.MethodPut, "/api/v1"+path, `{"overrides":{"jupyter":{"report":{"topic":"`+delivered+`"}}},"audience":[`+audiences[app]+`]}`)
			w.settled("ana", path, string(dm.Created))
		case want == dm.Started:
			as("ana", http.MethodPost, path+"/start", "")
		default:
			as("ana", http.MethodPost, path+"/stop", "")
		}
		return phase == want, app + " to be " + string(want)
	}))
	w.known[app] = want
}

// audiences are whom the applications deliver to.
var audiences = map[string]string{
	"noon": `"user:ana","user:una","group:class-7"`, "open": `"everyone"`, "own": `"user:ana"`,
}

// ask is one request, before it comes from anybody.
type ask struct {
	method, path, body string
	header             http.Header
}

// cell asks one route as one caller and says what came of it. What GET answers,
// HEAD must answer too; of git one test asks that, because each is a process.
func (w *accessWorld) cell(r row, c caller, how func(*accessWorld, caller) ask) string {
	w.t.Helper()
	a := how(w, c)
	a.method = r.method
	status, answer := w.as(r.door, c, a)
	switch {
	case r.method != http.MethodGet:
		if status < 300 && !strings.HasSuffix(r.path, "git-upload-pack") {
			w.used(r, c)
		}
	case r.door != "git" && a.path != "/selftest/all":
		a.method = http.MethodHead
		if head, _ := w.as(r.door, c, a); head != status {
			w.t.Errorf("%s as %s: HEAD is %d, GET is %d", r, c.head, head, status)
		}
	}
	said := fmt.Sprint(status)
	switch {
	case bytes.Contains(answer, []byte("ok refs/")):
		said += " ok"
	case bytes.Contains(answer, []byte("ng refs/")):
		said += " ng"
	case bytes.Contains(answer, []byte(delivered)), holdsPack(answer) && givesDelivered(r):
		said += " +"
	}
	return said
}

// givesDelivered tells the fetches whose packs hold what was delivered, which they
// compress.
func givesDelivered(r row) bool {
	return r.door == "git" && r.method == http.MethodPost && (strings.HasPrefix(r.path, "/jupyter-") || strings.HasPrefix(r.path, "/applications"))
}

// used forgets what the request was about, because it may be another now.
func (w *accessWorld) used(r row, c caller) {
	delete(w.spare, r.door+" "+r.method)
	delete(w.known, c.app)
	clear(w.mains)
}

// main is the newest commit of a repository.
func (w *accessWorld) main(repository string) string {
	w.t.Helper()
	if w.mains[repository] == "" {
		w.mains[repository] = w.bare(repository, "rev-parse", "main")
	}
	return w.mains[repository]
}

// unused returns what the last request of this sort was about if it was refused,
// and makes another one else.
func (w *accessWorld) unused(sort string, make func() string) string {
	if w.spare[sort] == "" {
		w.spare[sort] = make()
	}
	return w.spare[sort]
}

// as sends a request of the caller.
func (w *accessWorld) as(door string, c caller, a ask) (status int, answer []byte) {
	w.t.Helper()
	u, err := url.Parse("http://" + w.addresses[door] + a.path)
	must(w.t, err)
	query := u.Query()
	switch {
	case w.mode == dm.InsecurePNDA && c.user != "":
		query.Set("user.name", c.user)
	case c.claim != "":
		query.Set("user.name", c.claim)
	case c.user == "" && c.token == "" && door == "packages":
		query.Set("user.name", "") // which PNDA wants to be there
	}
	if len(query) > 0 && !(door == "git" && w.mode == dm.InsecurePNDA) {
		u.RawQuery = query.Encode()
	}
	request, err := http.NewRequestWithContext(w.t.Context(), a.method, u.String(), strings.NewReader(a.body))
	must(w.t, err)
	if a.header != nil {
		request.Header = a.header.Clone()
	}
	switch {
	case c.token != "":
		request.Header.Set("Authorization", "Bearer "+c.token)
	case c.user != "":
		request.SetBasicAuth(c.user, c.password)
	}
	response, err := http.DefaultClient.Do(request)
	must(w.t, err)
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	must(w.t, err)
	return response.StatusCode, answer
}
