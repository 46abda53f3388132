package apihandlers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
	"github.com/pndaproject/deployment-manager/plugins"
)

// deliveredFile is what pods of noon-run fetch here.
var deliveredFile = dm.DeliveredFile{Application: "noon-run", Type: "sparkStreaming", Component: "count", Path: "job.py"}

const deliveredText = "print()\n"

// delivered is a record that delivers it, and has one that is out of service.
type delivered struct{}

func (delivered) OpenDelivered(_ context.Context, f dm.DeliveredFile, coming bool) (io.ReadCloser, int64, error) {
	switch {
	case f.Application == "broken":
		return nil, 0, dm.Errorf(dm.Unavailable, "record", "the repository is out of service")
	case f != deliveredFile || coming:
		return nil, 0, dm.Errorf(dm.NotFound, "record", "no such file")
	}
	return io.NopCloser(strings.NewReader(deliveredText)), int64(len(deliveredText)), nil
}

func filesSigner() *files.Signer {
	signer, err := files.NewSigner("http://h", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err) // of what stands here
	}
	return signer
}

// deliveredPath is the path of an address of ours.
func deliveredPath(f dm.DeliveredFile, content string) string {
	return strings.TrimPrefix(filesSigner().Address(f, sha256.Sum256([]byte(content))), "http://h")
}

func brokenFile() dm.DeliveredFile {
	f := deliveredFile
	f.Application = "broken"
	return f
}

func filesRoutes(t *testing.T) []apihandlers.Route {
	t.Helper()
	api, err := files.New(files.Config{Signer: filesSigner(), Record: delivered{}, Spool: os.TempDir(), Fill: plugins.FilledJar})
	must(t, err)
	return api.Routes()
}
