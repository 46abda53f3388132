package packages

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config is what the API needs.
type Config struct {
	Store   dm.PackageStore // required
	Owners  dm.Owners       // required
	Policy  dm.Policy
	MaxBody int64         // bytes of one archive; 0 means DefaultMaxBody
	Stall   time.Duration // see apihandlers.BodyLimits
}

// DefaultMaxBody is the limit of one archive where none is configured.
const DefaultMaxBody = 1 << 30

// minRate is how fast a download must be read, in bytes per second, before
// the connection is cut; grace is added for its start.
const (
	minRate = 16 << 10
	grace   = time.Minute
)

// API serves the package repository.
type API struct{ Config }

// New checks the configuration.
func New(cfg Config) (*API, error) {
	if cfg.Store == nil || cfg.Owners == nil {
		return nil, errors.New("packages: Store and Owners are required")
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	return &API{cfg}, nil
}

// Routes is the route table.
func (a *API) Routes() []apihandlers.Route {
	read, write, remove := []dm.Action{dm.RepositoryRead}, []dm.Action{dm.RepositoryWrite}, []dm.Action{dm.RepositoryDelete}
	return []apihandlers.Route{
		{
			Name: "list-repository", Method: http.MethodGet, Path: "/packages", Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Handle: a.list,
			Summary:  "Lists all packages by name, each with its versions, newest first. `recency=n` (1 or more) keeps the newest n versions of each.",
			Response: `[{"name":"flow-collector","latest_versions":[{"version":"2.14.3","file":"flow-collector-2.14.3.tar.gz"}]}]`,
		},
		{
			Name: "download-package", Method: http.MethodGet, Path: "/packages/{file}", Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Streams: true, Handle: a.download,
			Summary:  "The archive's bytes as they were uploaded, or as they are made of what was pushed, the same each time, with a strong ETag (their SHA-256). If-None-Match and Range work.",
			Response: "(bytes)",
		},
		{
			Name: "probe-package", Method: http.MethodHead, Path: "/packages/{file}", Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Streams: true, Handle: a.download,
			Summary: "The headers of a download.",
		},
		{
			Name: "upload-package", Method: http.MethodPut, Path: "/packages/{file}", Access: apihandlers.Changing, Actions: write,
			Success: http.StatusOK, Streams: true, Handle: a.upload,
			Summary: "Publishes an archive. The body is the raw archive, with any Content-Type, chunked or not; of what comes compressed twice, with `Content-Encoding: gzip`, one layer is taken off. The same bytes again change nothing; other bytes under the same version are 409 unless versions may be replaced. Who publishes the first version owns the package. What keeps the version from being deployed stands in the header `DM-Findings`, what is odd in it in `DM-Notes`: each a JSON list of strings in ASCII, of 4 KiB at most, absent when there is nothing to tell. The package's history keeps the findings.",
			Request: "(bytes)",
		},
		{
			Name: "delete-package", Method: http.MethodDelete, Path: "/packages/{file}", Access: apihandlers.Changing, Actions: remove,
			Success: http.StatusOK, Handle: a.remove,
			Summary: "Takes a version out of the repository, under either suffix. What was deployed from it stays, the package keeps its owner, and the number takes only the same bytes again unless versions may be replaced.",
		},
	}
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.allowed(r, dm.RepositoryRead, ""); err != nil {
		return err
	}
	recency, err := apihandlers.Recency(r, 1, 0)
	if err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, apihandlers.Listing(a.Store.ListPackages(recency)))
	return nil
}

// allowed identifies the caller and asks the policy. For changes too, although
// the record judges them again: what is refused must be refused before the
// body is read, and before the caller learns whether the file exists.
func (a *API) allowed(r *http.Request, action dm.Action, file string) (dm.Actor, error) {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return actor, err
	}
	on := dm.Resource{Name: file}
	if parsed, err := dm.ParsePackageFile(file); err == nil {
		on.Owner = a.Owners.PackageOwner(parsed.Ref.Name)
	}
	return actor, a.Policy.Authorize(actor, action, on)
}

func (a *API) download(w http.ResponseWriter, r *http.Request) error {
	name := apihandlers.Var(r, "file")
	// The user before the name: an unknown user never learns what exists.
	if _, err := a.allowed(r, dm.RepositoryRead, name); err != nil {
		return err
	}
	file, err := dm.ParsePackageFile(name)
	if err != nil {
		return noFile(name)
	}
	archive, err := a.Store.OpenArchive(r.Context(), file)
	if err != nil {
		return err
	}
	defer archive.Close()
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("ETag", strconv.Quote(archive.Digest))
	patience := grace + time.Duration(archive.Size/minRate)*time.Second
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	// No modification time: versions that may be replaced can change twice in
	// a second, which only the ETag tells.
	content := &heard{ReadSeeker: archive.ReadSeekCloser}
	answer := &ranged{ResponseWriter: w}
	http.ServeContent(answer, r, "", time.Time{}, content)
	if answer.refused {
		return apihandlers.OutOfRange("packages.download", "range not satisfiable: %s has %d bytes", file, archive.Size)
	}
	if content.err != nil && r.Context().Err() == nil {
		return dm.Wrap("packages.download", content.err)
	}
	return nil
}

// ranged holds back http.ServeContent's own 416, a line of text, so that it is
// told as every other error is.
type ranged struct {
	http.ResponseWriter
	refused bool
}

func (a *ranged) WriteHeader(status int) {
	if a.refused = status == http.StatusRequestedRangeNotSatisfiable; !a.refused {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *ranged) Write(p []byte) (int, error) {
	if a.refused {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// ReadFrom keeps the way by which the kernel can copy a file.
func (a *ranged) ReadFrom(src io.Reader) (int64, error) { return io.Copy(a.ResponseWriter, src) }

func (a *ranged) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// heard remembers why reading failed, which http.ServeContent does not tell.
type heard struct {
	io.ReadSeeker
	err error
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		h.err = err
	}
	return n, err
}

// upload keeps PNDA's order: the file name, then the presence of user.name,
// then the user and the rules, and only then the body.
func (a *API) upload(w http.ResponseWriter, r *http.Request) error {
	name := apihandlers.Var(r, "file")
	file, err := dm.ParsePackageFile(name)
	if err != nil {
		return err
	}
	actor, err := a.allowed(r, dm.RepositoryWrite, name)
	if err != nil {
		return err
	}
	body, err := apihandlers.OpenBody(w, r, apihandlers.BodyLimits{Size: a.MaxBody, Stall: a.Stall, Archive: true})
	if err != nil {
		return err
	}
	published, err := a.Store.Publish(r.Context(), actor, file, body, body.Length(r))
	if err != nil {
		// A client that broke off is not the fault that the archive's reader
		// took it for.
		if fault := body.Fault(); fault != nil {
			return fault
		}
		return err
	}
	w.Header().Set("ETag", strconv.Quote(published.Digest))
	setList(w.Header(), "DM-Findings", published.Findings)
	setList(w.Header(), "DM-Notes", published.Notes)
	w.WriteHeader(http.StatusOK)
	return nil
}

// setList sets a header to a JSON list of strings in ASCII: nothing in it can end
// the header, and every client can read it. An empty list sets none.
func setList(h http.Header, name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	raw, err := json.Marshal(texts)
	if err != nil {
		return // texts always encode
	}
	h.Set(name, apihandlers.EscapeRunes(string(raw), func(r rune) bool { return r < 0x7f }))
}

func (a *API) remove(w http.ResponseWriter, r *http.Request) error {
	name := apihandlers.Var(r, "file")
	actor, err := a.allowed(r, dm.RepositoryDelete, name)
	if err != nil {
		return err
	}
	file, err := dm.ParsePackageFile(name)
	if err != nil {
		return noFile(name)
	}
	if err := a.Store.Withdraw(r.Context(), actor, file); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func noFile(name string) error {
	const most = 200
	if len(name) > most {
		return dm.Errorf(dm.NotFound, "packages", "no such package file")
	}
	return dm.Errorf(dm.NotFound, "packages", "no package file %s", name)
}
