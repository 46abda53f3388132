package dm

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Names that only the server's own test may use, and its door.
const (
	SelftestPackage     PackageName     = "dm-selftest"
	SelftestApplication ApplicationName = "_selftest"
	SelftestVia                         = "selftest"
)

// Limits of names, in bytes. A name becomes a directory name by an injective
// encoding that must stay under the 255 bytes a file system allows.
const (
	MaxPackageName     = 128
	MaxApplicationName = 63
	MaxUserName        = 128
)

// PackageName is the part of a package id before the version, for example
// "flow-collector". The zero value is not a name.
type PackageName string

// Version is the three numbers of a package. It is comparable.
type Version struct{ Major, Minor, Patch uint32 }

// PackageRef names one version of one package; its text form is PNDA's
// package id, for example "flow-collector-2.14.3".
type PackageRef struct {
	Name    PackageName
	Version Version
}

// PackageFile is the name under which an archive is uploaded and downloaded.
// Suffix is ".tar.gz" or ".tgz".
type PackageFile struct {
	Ref    PackageRef
	Suffix string
}

// ApplicationName names an application: 1 to 63 of a-z A-Z 0-9 - _, the first
// a letter, digit or underscore.
type ApplicationName string

// UserName names a person or a service. "" is the anonymous user.
type UserName string

// ComponentType is a directory on a package's second level: jupyter,
// sparkStreaming, flink (or flinkStreaming) or oozie.
type ComponentType string

// ComponentName is a directory on a package's third level.
type ComponentName string

// Revision is the full object name of a commit, 40 hexadecimal digits.
type Revision string

// Suffixes are the archive suffixes accepted, in the order they are tried.
var suffixes = [...]string{".tar.gz", ".tgz"}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// firstOdd shows the first character of s, whole, that is neither a letter or
// digit of ASCII nor one of others; "" when there is none.
func firstOdd(s, others string) string {
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != "\ufffd"[0]:
			return fmt.Sprintf("the byte %#02x, which is not UTF-8", s[i])
		case r >= utf8.RuneSelf, !isAlnum(byte(r)) && !strings.ContainsRune(others, r):
			return fmt.Sprintf("%q", r)
		}
	}
	return ""
}

// ParsePackageName checks the grammar of the package repository's contract,
// section 3, and refuses names that end in ".git" because the repository's
// address adds that ending.
func ParsePackageName(s string) (PackageName, error) {
	const op = "parse package name"
	if s == "" {
		return "", Errorf(Invalid, op, "the package name is empty")
	}
	if len(s) > MaxPackageName {
		return "", Errorf(Invalid, op, "the package name has %d bytes, at most %d are allowed", len(s), MaxPackageName)
	}
	if strings.IndexByte("._-", s[0]) >= 0 {
		return "", Errorf(Invalid, op, "the package name %q must start with a letter or a digit", s)
	}
	if odd := firstOdd(s, "._-"); odd != "" {
		return "", Errorf(Invalid, op, "the package name %q contains %s; the letters a-z and A-Z, digits, '.', '_' and '-' are allowed", s, odd)
	}
	if strings.HasSuffix(strings.ToLower(s), ".git") {
		return "", Errorf(Invalid, op, "the package name %q must not end in .git", s)
	}
	return PackageName(s), nil
}

// ParseVersion accepts exactly three numbers of 1 to 9 digits without leading
// zeros, separated by dots.
func ParseVersion(s string) (Version, error) {
	const op = "parse version"
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Version{}, Errorf(Invalid, op, "the version %q must be three numbers separated by dots, for example 1.0.0", clip(s))
	}
	var n [3]uint32
	for i, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" {
			return Version{}, Errorf(Invalid, op, "the version %q must be three numbers of 1 to 9 digits, for example 1.0.0", clip(s))
		}
		if len(p) > 1 && p[0] == '0' {
			return Version{}, Errorf(Invalid, op, "the version %q must not have leading zeros", clip(s))
		}
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return Version{}, Errorf(Invalid, op, "the version %q is not a number", s)
		}
		n[i] = uint32(v)
	}
	return Version{n[0], n[1], n[2]}, nil
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Compare orders versions by their numbers: negative when v is older than o.
func (v Version) Compare(o Version) int {
	for _, d := range [...]int64{
		int64(v.Major) - int64(o.Major), int64(v.Minor) - int64(o.Minor), int64(v.Patch) - int64(o.Patch),
	} {
		if d != 0 {
			return int(d)
		}
	}
	return 0
}

// String is the package id.
func (r PackageRef) String() string { return string(r.Name) + "-" + r.Version.String() }

// IsZero tells whether r names nothing.
func (r PackageRef) IsZero() bool { return r == PackageRef{} }

// MarshalText writes the package id.
func (r PackageRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a package id.
func (r *PackageRef) UnmarshalText(b []byte) (err error) {
	*r, err = ParsePackageRef(string(b))
	return err
}

// SplitPackageID splits at the last '-' as PNDA's deployment manager does: an
// id without one has an empty name and itself as version. It never fails.
func SplitPackageID(id string) (name, version string) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", id
	}
	return id[:i], id[i+1:]
}

// ParsePackageRef reads a package id such as "flow-collector-2.14.3".
func ParsePackageRef(id string) (PackageRef, error) {
	const op = "parse package id"
	if !strings.Contains(id, "-") {
		return PackageRef{}, Errorf(Invalid, op, "the package id %q must have the form <name>-<x.y.z>, for example flow-report-1.0.0", clip(id))
	}
	n, v := SplitPackageID(id)
	version, err := ParseVersion(v)
	if err != nil {
		return PackageRef{}, Errorf(Invalid, op, "in the package id %q %s", clip(id), Public(err))
	}
	name, err := ParsePackageName(n)
	if err != nil {
		return PackageRef{}, err
	}
	return PackageRef{name, version}, nil
}

// ParsePackageFile reads an archive's file name such as "flow-2.14.3.tar.gz".
func ParsePackageFile(file string) (PackageFile, error) {
	const op = "parse package file name"
	for _, suffix := range suffixes {
		if id, ok := strings.CutSuffix(file, suffix); ok {
			ref, err := ParsePackageRef(id)
			return PackageFile{ref, suffix}, err
		}
	}
	return PackageFile{}, Errorf(Invalid, op, "the file name %q must end in .tar.gz or .tgz", clip(file))
}

// String is the file name.
func (f PackageFile) String() string { return f.Ref.String() + f.Suffix }

// ParseApplicationName checks the name rule of the deployment manager's
// contract, section 5.6.
func ParseApplicationName(s string) (ApplicationName, error) {
	const op = "parse application name"
	if n := utf8.RuneCountInString(s); n == 0 || n > MaxApplicationName {
		return "", Errorf(Invalid, op, "the application name has %d characters, 1 to %d are allowed", utf8.RuneCountInString(s), MaxApplicationName)
	}
	if odd := firstOdd(s, "_-"); odd != "" {
		return "", Errorf(Invalid, op, "the application name %q contains %s; it may only contain the characters a-z A-Z 0-9 - _", s, odd)
	}
	if s[0] == '-' {
		return "", Errorf(Invalid, op, "the application name %q must start with a letter, a digit or '_'", s)
	}
	return ApplicationName(s), nil
}

// Fold maps names that Kubernetes cannot tell apart (letter case, '_' against
// '-') to one text.
func (a ApplicationName) Fold() string {
	return strings.ReplaceAll(strings.ToLower(string(a)), "_", "-")
}

// ParseUserName accepts 1 to 128 bytes of UTF-8 in normal form C without
// control and format characters, '/' and '\', not starting with '-' or '.', and
// not ending in ".git", because a repository's address may add that ending.
func ParseUserName(s string) (UserName, error) {
	const op = "parse user name"
	switch {
	case s == "":
		return "", Errorf(Invalid, op, "the user name is empty")
	case len(s) > MaxUserName:
		return "", Errorf(Invalid, op, "the user name has %d bytes, at most %d are allowed", len(s), MaxUserName)
	case !utf8.ValidString(s):
		return "", Errorf(Invalid, op, "the user name %q is not valid UTF-8", s)
	case !norm.NFC.IsNormalString(s):
		return "", Errorf(Invalid, op, "the user name %q is not in Unicode normal form C", s)
	case s[0] == '-' || s[0] == '.':
		return "", Errorf(Invalid, op, "the user name %q must not start with '-' or '.'", s)
	case strings.HasSuffix(strings.ToLower(s), ".git"):
		return "", Errorf(Invalid, op, "the user name %q must not end in .git", clip(s))
	}
	for _, r := range s {
		if r == '/' || r == '\\' || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) {
			return "", Errorf(Invalid, op, "the user name %q contains %q, which is not allowed", s, r)
		}
	}
	return UserName(s), nil
}

// MaxReason is the length limit of a reason in bytes.
const MaxReason = 1000

// ParseReason checks why somebody makes a change: one line of text, "" for none.
func ParseReason(s string) (string, error) {
	const op = "parse reason"
	s = strings.TrimSpace(s)
	switch {
	case len(s) > MaxReason:
		return "", Errorf(Invalid, op, "the reason has %d bytes, at most %d are allowed", len(s), MaxReason)
	case !utf8.ValidString(s):
		return "", Errorf(Invalid, op, "the reason is not valid UTF-8")
	}
	if r, at := Unprintable(s); at >= 0 {
		return "", Errorf(Invalid, op, "the reason must be one line; it contains %q", r)
	}
	return s, nil
}

// JobName is PNDA's name for the cluster job of one component.
func JobName(app ApplicationName, component ComponentName) string {
	return string(app) + "-" + string(component) + "-job"
}

// ParseRevision accepts 40 lower-case hexadecimal digits.
func ParseRevision(s string) (Revision, error) {
	if len(s) != 40 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", Errorf(Invalid, "parse revision", "%q is not a full object name of 40 hexadecimal digits", clip(s))
	}
	return Revision(s), nil
}
