package dm

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of a path inside a package, in bytes and parts.
const (
	MaxPathBytes = 1024
	MaxPathPart  = 255
	MaxPathDepth = 32
)

// NormalPath returns path in Unicode normal form C. macOS writes names in form
// D; the two forms are one name to a person, so they are stored as one.
func NormalPath(path string) string { return norm.NFC.String(path) }

// CheckPath is the one rule for a path in an archive and in a push: relative,
// '/'-separated, no trailing '/', in normal form C, without parts that climb,
// that a file system or a terminal treats specially, or that git reads as its
// own. The error's message names the path and the rule.
func CheckPath(path string) error {
	const op = "check path"
	switch {
	case path == "":
		return Errorf(Invalid, op, "a path is empty")
	case len(path) > MaxPathBytes:
		return Errorf(Invalid, op, "the path %q has %d bytes, at most %d are allowed", clip(path), len(path), MaxPathBytes)
	case !utf8.ValidString(path):
		return Errorf(Invalid, op, "the path %q is not valid UTF-8", clip(path))
	case path[0] == '/':
		return Errorf(Invalid, op, "the path %q is absolute", clip(path))
	case strings.Contains(path, `\`):
		return Errorf(Invalid, op, "the path %q contains a backslash", clip(path))
	case !norm.NFC.IsNormalString(path):
		return Errorf(Invalid, op, "the path %q is not in Unicode normal form C", clip(path))
	}
	if r, at := Unprintable(path); at >= 0 {
		return Errorf(Invalid, op, "the path %q contains the control or format character %U", clip(path), r)
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxPathDepth {
		return Errorf(Invalid, op, "the path %q is %d levels deep, at most %d are allowed", clip(path), len(parts), MaxPathDepth)
	}
	for _, part := range parts {
		if err := checkPart(path, part); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(path, part string) error {
	const op = "check path"
	switch {
	case part == "":
		return Errorf(Invalid, op, "the path %q has an empty part", clip(path))
	case part == "." || part == "..":
		return Errorf(Invalid, op, "the path %q has a part %q", clip(path), part)
	case len(part) > MaxPathPart:
		return Errorf(Invalid, op, "the path %q has a part of %d bytes, at most %d are allowed", clip(path), len(part), MaxPathPart)
	}
	if special := gitSpecial(seen(part)); special != "" {
		return Errorf(Invalid, op, "the path %q has a part that git reads as %s", clip(path), special)
	}
	return nil
}

// The characters that can't be seen and yet belong to names.
const (
	nonJoiner = '\u200c' // in Persian and others, between the parts of a word
	joiner    = '\u200d' // in Hindi and others, and between the parts of an emoji
	blackFlag = '\U0001f3f4'
	endOfFlag = '\U000e007f'
)

func isJoiner(r rune) bool { return r == joiner || r == nonJoiner }

// isTag tells the letters and digits, none of which can be seen, that name the
// region of a flag.
func isTag(r rune) bool {
	return r >= 0xe0030 && r <= 0xe0039 || r >= 0xe0061 && r <= 0xe007a
}

// Unprintable returns the first character of s that a name or a line of text
// must not hold, and where it is; at is -1 when there is none. Those are control
// and format characters, and separators of lines and paragraphs. Joiners are
// none where a script or an emoji needs them: beside a character that is not of
// ASCII. Nor are the tags of a flag behind a black flag.
func Unprintable(s string) (r rune, at int) {
	before := rune(0)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		after, _ := utf8.DecodeRuneInString(s[i+size:])
		switch {
		case r == blackFlag:
			size += tags(s[i+size:])
		case isJoiner(r) && (joins(before) || joins(after)):
		case unicode.In(r, unicode.C, unicode.Zl, unicode.Zp):
			return r, i
		}
		before, i = r, i+size
	}
	return 0, -1
}

// tags is the length of the tags of a flag at the beginning of s, their end
// included; 0 without an end or with more than the six that a region has.
func tags(s string) int {
	const most = 6
	n := 0
	for i, r := range s {
		switch {
		case r == endOfFlag && n > 0:
			return i + utf8.RuneLen(r)
		case !isTag(r) || n == most:
			return 0
		}
		n++
	}
	return 0
}

// joins tells what a joiner can belong to.
func joins(r rune) bool {
	return r >= utf8.RuneSelf && r != utf8.RuneError && unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.S)
}

// seen is s without what can't be seen in it.
func seen(s string) string {
	return strings.Map(func(r rune) rune {
		if isJoiner(r) || unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, s)
}

// clip keeps messages readable: the first 200 bytes, cut before a rune and with
// a sign that something was cut.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// shortName names the file of git's own to which NTFS may give the 8.3 name
// stem~digits, or "". When plain short names are taken NTFS makes one of a
// hash, and cuts it so that the whole has eight characters.
func shortName(stem, digits string) string {
	switch stem {
	case "git":
		return ".git"
	case "gitmod":
		return ".gitmodules"
	case "gitatt":
		return ".gitattributes"
	}
	if stem != "" && len(stem)+len("~")+len(digits) == 8 {
		switch {
		case strings.HasPrefix("gi7eba", stem):
			return ".gitmodules"
		case strings.HasPrefix("gi7d29", stem):
			return ".gitattributes"
		}
	}
	return ""
}

// gitSpecial names the file of git's own that part is taken for on some file
// system (case, NTFS streams, trailing dots and spaces, 8.3 names), or "".
func gitSpecial(part string) string {
	p := strings.ToLower(part)
	p, _, _ = strings.Cut(p, ":")
	p = strings.TrimRight(p, ". ")
	switch p {
	case ".git", ".gitmodules", ".gitattributes":
		return p
	}
	if stem, digits, ok := strings.Cut(p, "~"); ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
		return shortName(stem, digits)
	}
	return ""
}

// PathSet collects the paths of one tree and refuses those that cannot stand
// beside one another on every file system: repeated, a file where a directory
// is, or equal but for letter case. The zero value is empty and ready.
type PathSet struct {
	seen map[string]pathEntry // by folded path
}

type pathEntry struct {
	spelling string
	dir      bool
	explicit bool // named by an entry of its own, not only implied by a file below it
}

// Len is the number of paths and of their directories.
func (s *PathSet) Len() int { return len(s.seen) }

// Add adds a path that CheckPath accepted, and its directories.
func (s *PathSet) Add(path string, dir bool) error {
	if s.seen == nil {
		s.seen = map[string]pathEntry{}
	}
	// Folding keeps every '/', so the folded path is cut where the path is.
	// All keys share its memory: paths may be deep, and there are many.
	folded := foldPath(path)
	for at, end := 0, 0; ; at, end = at+1, end+1 {
		i, j := strings.IndexByte(path[at:], '/'), strings.IndexByte(folded[end:], '/')
		if i < 0 || j < 0 {
			return s.add(folded, path, dir, true)
		}
		at, end = at+i, end+j
		if err := s.add(folded[:end], path[:at], true, false); err != nil {
			return err
		}
	}
}

func (s *PathSet) add(key, path string, dir, explicit bool) error {
	const op = "check path"
	old, ok := s.seen[key]
	switch {
	case !ok:
		s.seen[key] = pathEntry{path, dir, explicit}
	case old.spelling != path:
		return Errorf(Invalid, op, "the paths %q and %q differ only in %s", clip(old.spelling), clip(path), difference(old.spelling, path))
	case old.dir != dir:
		return Errorf(Invalid, op, "the path %q is both a file and a directory", clip(path))
	case explicit && (old.explicit || !dir):
		return Errorf(Invalid, op, "duplicate path %q", clip(path))
	case explicit:
		old.explicit = true
		s.seen[key] = old
	}
	return nil
}

// foldPath leaves joiners out, which HFS+ does not see, and maps every letter to
// the smallest of those that differ only in case, so that it also joins letters
// whose lower and upper forms do not pair.
func foldPath(path string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if isJoiner(r) {
			return -1
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, path))
}

// difference says in what two paths with one folded form differ.
func difference(a, b string) string {
	if seen(a) == seen(b) {
		return "joiners, which cannot be seen"
	}
	return "letter case"
}

// ToolLitter tells whether a file or directory of that name is what a tool left
// behind, at any depth: JupyterLab, macOS or Windows. No author means it as
// content of a package.
func ToolLitter(name string, directory bool) bool {
	if directory {
		return name == ".ipynb_checkpoints" || name == "__MACOSX"
	}
	return name == ".DS_Store" || strings.EqualFold(name, "Thumbs.db")
}

// Beside tells whether an entry of that name beside the component types of a
// package, or beside the components of a type, is passed over: litter, and
// whatever its name hides.
func Beside(name string, directory bool) bool {
	return strings.HasPrefix(name, ".") || ToolLitter(name, directory)
}

// AppleDouble tells whether a file holds what macOS keeps of another one beside
// its content. head is its beginning, of AppleDoubleHead bytes at least.
func AppleDouble(name string, head []byte) bool {
	return strings.HasPrefix(name, "._") && strings.HasPrefix(string(head), "\x00\x05\x16\x07")
}

// AppleDoubleHead is how many bytes AppleDouble needs.
const AppleDoubleHead = 4

// Harmless keeps a text from forging another line or a terminal sequence: for each
// Unprintable character, and each byte that is no UTF-8, it has what instead makes
// of it.
func Harmless(s string, instead func(string) string) string {
	var b strings.Builder
	for s != "" {
		n := 0
		for size := 0; n < len(s); n += size {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[n:]); r == utf8.RuneError && size == 1 {
				break
			}
		}
		good := s[:n]
		for r, at := Unprintable(good); at >= 0; r, at = Unprintable(good) {
			b.WriteString(good[:at] + instead(string(r)))
			good = good[at+utf8.RuneLen(r):]
		}
		b.WriteString(good)
		if s = s[n:]; s != "" {
			b.WriteString(instead(s[:1]))
			s = s[1:]
		}
	}
	return b.String()
}

// Printable is how the record keeps a text: Harmless, with a space in place of
// each character, and the replacement character for what is no UTF-8.
func Printable(s string) string {
	return Harmless(strings.ToValidUTF8(s, "\uFFFD"), func(string) string { return " " })
}

// Shown is how a person sees a text from outside on a terminal: Harmless, with
// Go's escapes, so that nothing of it is lost.
func Shown(s string) string {
	return Harmless(s, func(bad string) string { q := strconv.QuoteToASCII(bad); return q[1 : len(q)-1] })
}

// OneLine is Printable without spaces around it.
func OneLine(s string) string { return strings.TrimSpace(Printable(s)) }

// Bounds of what is told, and kept, of the findings on one version.
const (
	maxTold      = 20
	maxToldText  = 300     // bytes of one text
	maxToldBytes = 4 << 10 // of all, written as JSON in ASCII
)

// Few are the first of texts, cut to what a header and a trailer may hold, and
// how many there are beyond.
func Few(texts []string) []string {
	var list []string
	left := maxToldBytes
	for i, text := range texts {
		text = OneLine(text)
		if len(text) > maxToldText {
			end := maxToldText
			for !utf8.RuneStart(text[end]) {
				end--
			}
			text = text[:end] + "…"
		}
		left -= len(strconv.QuoteToASCII(text)) + len(", ")
		if left < 0 || i == maxTold {
			return append(list, fmt.Sprintf("and %d more", len(texts)-i))
		}
		list = append(list, text)
	}
	return list
}
