package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config is what an API needs.
type Config struct {
	Signer *Signer      // required
	Record dm.Delivered // required
	Spool  string       // folder for files on their way; required
	AtOnce int          // answers at once; 0 means 16

	// Fill writes a jar with application.properties in it; required.
	Fill func(w io.Writer, jar io.ReaderAt, size int64, properties []byte) error
}

// API answers for addresses.
type API struct {
	cfg    Config
	places chan struct{}
}

// New checks cfg.
func New(cfg Config) (*API, error) {
	if cfg.Signer == nil || cfg.Record == nil || cfg.Spool == "" || cfg.Fill == nil {
		return nil, errors.New("files: a signer, a record, a folder and a way to fill jars are needed")
	}
	if cfg.AtOnce == 0 {
		cfg.AtOnce = 16
	}
	return &API{cfg, make(chan struct{}, cfg.AtOnce)}, nil
}

// propertiesMost is how much of application.properties is put into a jar.
const propertiesMost = 16 << 20

// Routes is the table of the API.
func (a *API) Routes() []apihandlers.Route {
	return []apihandlers.Route{{
		Name: "delivered-file", Method: http.MethodGet, Path: Prefix + "{address:.+}", Access: apihandlers.Open, Success: http.StatusOK,
		Summary: "One file of what an application delivers, for its pods. The address is made by the server, for one file with one content, and is the right to read it; no identity is asked for.",
		Streams: true, Handle: a.serve,
	}}
}

// missing is the answer to every address that opens nothing.
func missing() error { return dm.Errorf(dm.NotFound, "files.serve", "no such file") }

func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	f, digest, ok := a.cfg.Signer.parse(apihandlers.RawVar(r, "address"))
	if !ok {
		return missing()
	}
	select {
	case a.places <- struct{}{}:
		defer func() { <-a.places }()
	default:
		return dm.Errorf(dm.Unavailable, "files.serve", "%d files are being fetched, come again", a.cfg.AtOnce)
	}
	content, err := a.proved(r.Context(), f, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", fmt.Sprintf(`"%x"`, digest))
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, path.Base(f.Path), time.Time{}, content)
	return nil
}

// proved is the content of that digest, of the deployment that is in effect or of the
// one that is coming.
func (a *API) proved(ctx context.Context, f dm.DeliveredFile, digest [32]byte) (*os.File, error) {
	for _, coming := range []bool{false, true} {
		content, sum, err := a.content(ctx, f, coming)
		switch {
		case dm.KindOf(err) == dm.NotFound:
			continue
		case err != nil:
			return nil, err
		case sum == digest:
			return content, nil
		}
		content.Close()
	}
	return nil, missing()
}

// content keeps a file on disk, under no name, and tells its digest.
func (a *API) content(ctx context.Context, f dm.DeliveredFile, coming bool) (_ *os.File, sum [32]byte, err error) {
	const op = "files.content"
	in, _, err := a.cfg.Record.OpenDelivered(ctx, f, coming)
	if err != nil {
		return nil, sum, err
	}
	defer in.Close()
	whole, err := a.spool()
	if err != nil {
		return nil, sum, dm.Wrap(op, err)
	}
	if !f.Filled {
		return rewound(whole, in)
	}
	defer whole.Close()
	size, err := io.Copy(whole, in)
	if err != nil {
		return nil, sum, dm.Wrap(op, err)
	}
	properties, err := a.properties(ctx, f, coming)
	if err != nil {
		return nil, sum, err
	}
	out, err := a.spool()
	if err != nil {
		return nil, sum, dm.Wrap(op, err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(a.cfg.Fill(w, whole, size, properties)) }()
	defer r.Close()
	return rewound(out, r)
}

// properties are those that are filled into a jar.
func (a *API) properties(ctx context.Context, f dm.DeliveredFile, coming bool) ([]byte, error) {
	f.Path, f.Filled = "application.properties", false
	in, size, err := a.cfg.Record.OpenDelivered(ctx, f, coming)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if size > propertiesMost {
		return nil, dm.Errorf(dm.TooLarge, "files.properties", "application.properties has %d bytes, at most %d go into a jar", size, propertiesMost)
	}
	all, err := io.ReadAll(in)
	return all, dm.Wrap("files.properties", err)
}

// spool makes a file that has no name.
func (a *API) spool() (*os.File, error) {
	f, err := os.CreateTemp(a.cfg.Spool, "delivered-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// rewound fills a file from in and puts it back to its beginning.
func rewound(file *os.File, in io.Reader) (_ *os.File, sum [32]byte, err error) {
	digest := sha256.New()
	if _, err = io.Copy(io.MultiWriter(file, digest), in); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, sum, errors.Join(dm.Wrap("files.content", err), file.Close())
	}
	return file, [32]byte(digest.Sum(nil)), nil
}
