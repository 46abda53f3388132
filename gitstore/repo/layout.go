package repo

import (
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// The data folder. <enc> is EncodeName of the logical name.
//
//	<data>/format                        version of this layout
//	<data>/known-refs                    where each ref that nothing derives was moved last
//	<data>/lock                          flock of the owning process and its git children
//	<data>/cursors/<sha256>              how far a receiver of callbacks has come
//	<data>/hooks/                        core.hooksPath of every repository: the programs for pushes, and their socket
//	<data>/tmp/                          uploads and repositories while they are built, notes of changes; emptied at start
//	<data>/damaged/<kind>/<enc>.json     why a repository answers 503; it stays where it is until it is sound
//	<data>/damaged/users/<enc>.git       the last damaged workspace, in whose place one is made when its user asks
//	<data>/damaged/repair-*              questions of administrators, and their answers
//	<data>/sweeps.git                    what maintenance took that can be made again; only when sweep.after is set
//	<data>/blank.git                     the workspace of a user who has nothing; every workspace starts from its tip
//	<data>/tools.git
//	    refs/heads/<amd64|arm64>         the program for pods of that processor type; only when it lies beside the server's
//	<data>/packages/<enc>.git
//	    refs/tags/<x.y.z>                THE AUTHORITY for a version
//	    refs/archives/<blob id>          the uploaded bytes, in a pack of their own; not of what was pushed
//	    refs/superseded/<x.y.z>/<n>      earlier tags of a version that was replaced or withdrawn
//	    refs/deployed/<x.y.z>            one commit per outcome of deploy and undeploy
//	    refs/heads/main                  newest upload
//	<data>/applications/<enc>.git
//	    refs/heads/main                  DESIRED
//	    refs/deployments/<n>             the n-th change of content
//	    refs/observed/head               OBSERVED
//	<data>/users/<enc>.git               made when its user has something to get and asks; its refs are in packed-refs only
//	    refs/brought/head                where the chain of main began, how far it was brought, and what was fetched last
//	    refs/heads/main                  what a plain clone gets
//	    refs/heads/apps/<app>            what one application delivered to this user

const (
	FormatFile = "format"
	LockFile   = "lock"
	KnownFile  = "known-refs"
	CursorsDir = "cursors"
	HooksDir   = "hooks"
	TmpDir     = "tmp"
	DamagedDir = "damaged"

	Main     = "refs/heads/main"
	Observed = "refs/observed/head"
	Brought  = "refs/brought/head"

	TagPrefix        = "refs/tags/"
	ArchivePrefix    = "refs/archives/"
	SupersededPrefix = "refs/superseded/"
	DeployedPrefix   = "refs/deployed/"
	DeploymentPrefix = "refs/deployments/"
	AppBranchPrefix  = "refs/heads/apps/"
	ToolPrefix       = "refs/heads/"
)

// The refs of a version, a blob, a deployment, an application's branch, and a
// program for pods.

func Tag(v dm.Version) string         { return TagPrefix + v.String() }
func Archive(blob string) string      { return ArchivePrefix + blob }
func Deployed(v dm.Version) string    { return DeployedPrefix + v.String() }
func Deployment(n int) string         { return DeploymentPrefix + strconv.Itoa(n) }
func App(a dm.ApplicationName) string { return AppBranchPrefix + string(a) }
func Tool(processor string) string    { return ToolPrefix + processor }

// NextSuperseded is the first free ref for an earlier tag of v.
func NextSuperseded(heads Refs, v dm.Version) string {
	highest := 0
	for name := range heads {
		if text, ok := strings.CutPrefix(name, SupersededPrefix+v.String()+"/"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return SupersededPrefix + v.String() + "/" + strconv.Itoa(highest+1)
}

// The repositories that have no name.
var (
	Blank  = dm.Repository{Kind: "blank.git"}
	Sweeps = dm.Repository{Kind: "sweeps.git"}
	Tools  = dm.Repository{Kind: dm.ToolsRepository}
)

// Package is the repository of a package.
func Package(n dm.PackageName) dm.Repository {
	return dm.Repository{Kind: dm.PackageRepository, Name: string(n)}
}

// Application is the repository of an application.
func Application(a dm.ApplicationName) dm.Repository {
	return dm.Repository{Kind: dm.ApplicationRepository, Name: string(a)}
}

// Workspace is the repository of a user.
func Workspace(u dm.UserName) dm.Repository {
	return dm.Repository{Kind: dm.WorkspaceRepository, Name: string(u)}
}

// maxPlainName leaves room for ".git" and for what is built beside it.
const maxPlainName = 200

var wholeName = base32.HexEncoding.WithPadding(base32.NoPadding)

// EncodeName maps a logical name to a directory name, one to one, so that names
// that differ only in letter case or in ways a file system folds get different
// directories. Lower-case ASCII letters, digits, '-', '_' and inner dots stand
// for themselves, any other byte is '=' and two hexadecimal digits; a name that
// gets too long that way is "==" and its base32 as a whole.
func EncodeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' ||
			(c == '-' || c == '.') && i > 0 && i < len(name)-1
		if plain {
			b.WriteByte(c)
		} else {
			b.WriteString("=" + hex.EncodeToString([]byte{c}))
		}
	}
	if b.Len() <= maxPlainName {
		return b.String()
	}
	return "==" + strings.ToLower(wholeName.EncodeToString([]byte(name)))
}

// DecodeName is the inverse of EncodeName; ok is false for a directory that
// EncodeName does not make.
func DecodeName(dir string) (name string, ok bool) {
	if whole, found := strings.CutPrefix(dir, "=="); found {
		b, err := wholeName.DecodeString(strings.ToUpper(whole))
		return string(b), err == nil && EncodeName(string(b)) == dir
	}
	var b strings.Builder
	for i := 0; i < len(dir); i++ {
		if dir[i] != '=' {
			b.WriteByte(dir[i])
			continue
		}
		if i+2 >= len(dir) {
			return "", false
		}
		c, err := hex.DecodeString(dir[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.Write(c)
		i += 2
	}
	return b.String(), EncodeName(b.String()) == dir
}
