package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config is what an API needs.
type Config struct {
	Signer *Signer       // required
	Record dm.Delivered  // required
	Spool  string        // folder for files on their way; required
	AtOnce int           // files on their way at once, each on disk meanwhile; 0 means 16
	Wait   time.Duration // for a place among them; 0 means 20 seconds

	// Fill writes a jar with application.properties in it; required.
	Fill func(w io.Writer, jar io.ReaderAt, size int64, properties []byte) error
}

// API answers for addresses.
type API struct {
	cfg    Config
	places *places
}

// New checks cfg.
func New(cfg Config) (*API, error) {
	if cfg.Signer == nil || cfg.Record == nil || cfg.Spool == "" || cfg.Fill == nil {
		return nil, errors.New("files: a signer, a record, a folder and a way to fill jars are needed")
	}
	if cfg.AtOnce == 0 {
		cfg.AtOnce = 16
	}
	if cfg.Wait == 0 {
		cfg.Wait = 20 * time.Second
	}
	return &API{cfg, newPlaces(cfg.AtOnce)}, nil
}

const (
	// propertiesMost is how much of application.properties is put into a jar.
	propertiesMost = 16 << 20

	// minRate is how fast a file must be read, in bytes per second, before the
	// connection is cut; grace is added for its start.
	minRate = 256 << 10
	grace   = 30 * time.Second
)

// Routes is the table of the API.
func (a *API) Routes() []apihandlers.Route {
	return []apihandlers.Route{{
		Name: "delivered-file", Method: http.MethodGet, Path: Prefix + "{address:.+}", Access: apihandlers.Open, Success: http.StatusOK,
		Summary: "One file of what an application delivers, for its pods. The server makes the address, of one file with one content, and signs it: who has it may read the file, as long as the deployment in effect, or the one that is being carried out, has it with that content. " +
			"Everything else is 404. There is the route only where `kubernetes.enabled` is set.",
		Response: "(bytes)", Streams: true, Handle: a.serve,
	}}
}

// missing is the answer to every address that opens nothing: that of a path for which
// there is no route.
func missing() error { return dm.Errorf(dm.NotFound, "files.serve", "no such resource") }

func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	f, digest, ok := a.cfg.Signer.parse(apihandlers.RawVar(r, "address"))
	if !ok {
		return missing()
	}
	giveBack, err := a.place(r.Context(), f.Application)
	if err != nil {
		return err
	}
	defer giveBack()
	content, size, err := a.proved(r.Context(), f, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", fmt.Sprintf(`"%x"`, digest))
	h.Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(grace + time.Duration(size/minRate)*time.Second)) // an error means that this is no network connection
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(w, content)
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return dm.Wrap("files.serve", err)
	}
	return nil // who fetched it went away, or reads too slowly
}

// place waits for one, because a driver that is refused dies of it. When a node is
// gone, many drivers come at once.
func (a *API) place(ctx context.Context, app dm.ApplicationName) (giveBack func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, a.cfg.Wait)
	defer cancel()
	giveBack, ok := a.places.take(waiting, app)
	switch {
	case ok:
		return giveBack, nil
	case ctx.Err() != nil:
		return nil, dm.Wrap("files.place", ctx.Err())
	}
	return nil, dm.Errorf(dm.Unavailable, "files.place", "too many files are being fetched, try again")
}

// proved is the content of that digest, of the deployment that is in effect or of the
// one that is coming.
func (a *API) proved(ctx context.Context, f dm.DeliveredFile, digest [32]byte) (content *os.File, size int64, err error) {
	for _, coming := range []bool{false, true} {
		s, err := a.content(ctx, f, coming)
		switch {
		case dm.KindOf(err) == dm.NotFound:
			continue
		case err != nil:
			return nil, 0, err
		case s.sum() != digest:
			s.Close()
			continue
		}
		if _, err := s.Seek(0, io.SeekStart); err != nil {
			return nil, 0, errors.Join(dm.Wrap("files.proved", err), s.Close())
		}
		return s.File, s.size, nil
	}
	return nil, 0, missing()
}

// content keeps a file of a deployment on disk.
func (a *API) content(ctx context.Context, f dm.DeliveredFile, coming bool) (*spooled, error) {
	in, _, err := a.cfg.Record.OpenDelivered(ctx, f, coming)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	whole, err := a.spool(func(w io.Writer) error { return copyUntil(ctx, w, in) })
	if err != nil || !f.Filled {
		return whole, err
	}
	defer whole.Close()
	properties, err := a.properties(ctx, f, coming)
	if err != nil {
		return nil, err
	}
	filled, err := a.spool(func(w io.Writer) error {
		return a.cfg.Fill(whileWanted{ctx, w}, whole, whole.size, properties)
	})
	if dm.KindOf(err) == dm.Invalid { // then nobody has its digest
		return nil, missing()
	}
	return filled, err
}

// properties are those that are filled into a jar.
func (a *API) properties(ctx context.Context, f dm.DeliveredFile, coming bool) ([]byte, error) {
	const op = "files.properties"
	f.Path, f.Filled = "application.properties", false
	in, size, err := a.cfg.Record.OpenDelivered(ctx, f, coming)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if size > propertiesMost {
		return nil, dm.Errorf(dm.TooLarge, op, "application.properties has %d bytes, at most %d go into a jar", size, propertiesMost)
	}
	all, err := io.ReadAll(io.LimitReader(in, propertiesMost))
	return all, dm.Wrap(op, err)
}
