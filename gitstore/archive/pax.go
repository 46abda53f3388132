package archive

import (
	"bytes"
	"strconv"
	"strings"
)

// records is what one PAX header says that matters here.
type records struct {
	path    string
	size    int64
	hasPath bool
	hasSize bool
	fault   string // a key that is refused
}

// maxTime is the end of the year 9999, in seconds.
const maxTime = 253402300799

// parseRecords reads the records of a PAX header: "length key=value\n", where
// the length counts the whole record.
func parseRecords(data []byte) (*records, error) {
	r := &records{}
	for len(data) > 0 {
		digits, _, ok := bytes.Cut(data[:min(len(data), 10)], []byte{' '})
		length, err := strconv.Atoi(string(digits))
		if !ok || err != nil || digits[0] < '1' || digits[0] > '9' || length > len(data) || length < len(digits)+3 {
			return nil, malformed("a PAX record has a wrong length")
		}
		record := data[len(digits)+1 : length]
		data = data[length:]
		key, value, ok := bytes.Cut(record[:len(record)-1], []byte{'='})
		if !ok || len(key) == 0 || record[len(record)-1] != '\n' || bytes.IndexByte(key, 0) >= 0 {
			return nil, malformed("a PAX record has no key or no end")
		}
		if err := r.add(key, value); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add judges one record. Keys that are not known are dropped: macOS and others
// write their own, and nothing of them is kept.
func (r *records) add(key, value []byte) error {
	switch string(key) {
	case "path":
		if r.hasPath || len(value) == 0 {
			return malformed("a PAX header has an empty path or two paths")
		}
		r.path, r.hasPath = string(value), true
	case "size":
		size, err := strconv.ParseUint(string(value), 10, 63)
		if r.hasSize || err != nil {
			return malformed("a PAX header has a size that is not a number, or two sizes")
		}
		r.size, r.hasSize = int64(size), true
	case "uid", "gid":
		if _, err := strconv.ParseInt(string(value), 10, 64); err != nil && len(value) > 0 {
			return malformed("the PAX key %s is not a number", key)
		}
	case "mtime", "atime", "ctime":
		if !isTime(string(value)) {
			return malformed("the PAX key %s is not a time of this era", key)
		}
	default:
		if unsafeKey(key) {
			r.fault = "the PAX key " + shown(string(key)) + " is not allowed"
		}
	}
	return nil
}

// unsafeKey tells whether a key would change what an entry is or give it
// rights. File capabilities are setuid bits by another name.
func unsafeKey(key []byte) bool {
	switch string(key) {
	case "linkpath", "SCHILY.realsize", "SCHILY.filetype",
		"SCHILY.xattr.security.capability", "LIBARCHIVE.xattr.security.capability":
		return true
	}
	return bytes.HasPrefix(key, []byte("GNU.sparse."))
}

// isTime accepts decimal seconds, with a fraction and a sign, until year 9999.
func isTime(value string) bool {
	if value == "" {
		return true // takes back what a global header said
	}
	whole, fraction, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	return err == nil && seconds <= maxTime && seconds >= -maxTime && strings.Trim(fraction, "0123456789") == ""
}
